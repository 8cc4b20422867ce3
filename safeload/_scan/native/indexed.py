"""What compiled code goes by: neighbour trees, metrics, sparse matrices, support vectors and parts of frames."""

from __future__ import annotations

from typing import Final

from safeload._scan.native.checks import (
    Context,
    OddError,
    array_of,
    check_indices,
    integers_of,
    is_function,
    length_of,
    need,
    whole,
)
from safeload._scan.native.contents import Ranges
from safeload._scan.values import (
    Array,
    Attributes,
    Check,
    DType,
    Float,
    Global,
    Instance,
    attributes,
    describe,
    shown,
)


def metric(context: Context) -> None:
    """Keep for rows of which length a distance metric is: it is not asked again."""
    state = context.state
    args = context.target.native
    if not (isinstance(args, tuple) and len(args) == 1 and isinstance(args[0], Global)):
        raise OddError("it was created without a class")
    if not (isinstance(state, tuple) and len(state) == 3 and isinstance(state[0], Float)):
        raise OddError("its state is not a tuple of three")
    vector = length_of(state[1], "vec")
    matrix = array_of(state[2], "mat", dimensions=2).shape
    context.target.native = ("metric", args[0].qualname.rstrip("0123456789"), vector, matrix)


def _metric_width(metric: object, width: int) -> None:
    native = metric.native if isinstance(metric, Instance) and metric.built else None
    if not (isinstance(native, tuple) and native[0] == "metric"):
        raise OddError("its metric is not complete")
    _, kind, vector, matrix = native
    if kind == "MahalanobisDistance":
        need(matrix == (width, width), f"its metric is for {matrix[0]} features, and its points have {width}")
    elif kind == "SEuclideanDistance" or (kind == "MinkowskiDistance" and vector):
        need(vector == width, f"its metric is for {vector} features, and its points have {width}")
    elif kind == "HaversineDistance":
        need(width == 2, "its metric is for two coordinates")


def neighbour_tree(context: Context) -> None:
    """Check a KD or ball tree: indices lead to points, nodes to ranges of indices."""
    state = context.state
    if not isinstance(state, tuple) or len(state) != 13:
        raise OddError("its state is not a tuple of thirteen")
    points, width = array_of(state[0], "its points", dimensions=2).shape
    need(points >= 1 and width >= 1, "it has no points")
    check_indices(state[1], "the array of its indices", points, length=points)
    nodes = array_of(state[2], "node data", dimensions=1)
    count = nodes.shape[0]
    leaf_size, levels, said = (whole(state[at], "one of its counts") for at in (4, 5, 6))
    need(leaf_size >= 1 and 1 <= levels < 62, "its leaf size or number of levels is not valid")
    need(count == said == (1 << levels) - 1, f"it has {count} nodes for {said} announced nodes and {levels} levels")
    seen = nodes.contents
    if not isinstance(seen, Ranges):
        raise OddError("node data is not written as scikit-learn writes it")
    need(seen.least >= 0 and seen.greatest <= points and seen.ordered, "a node refers to points that do not exist")
    need(2 * seen.last_inner + 2 < count, "a node refers to children that do not exist")
    sides = 2 if "_kd_tree" in context.target.origin.module else 1
    bounds = array_of(state[3], "node bounds", dimensions=3).shape
    need(bounds == (sides, count, width), "node bounds do not have the shape of its nodes")
    _metric_width(state[11], width)
    need(
        state[12] is None or length_of(state[12], "sample weights") == points,
        "it does not have one weight for each point",
    )


def _as_wide(rows: object, what: str, found: Attributes) -> None:
    """Compiled code believes that what it compares rows with is as wide, and predict checks rows by this number."""
    width = _sparse(rows, what)[0][1] if isinstance(rows, Instance) else array_of(rows, what, dimensions=2).shape[1]
    features = whole(found.get("n_features_in_"), "n_features_in_")
    need(width == features, f"{what} has {width} columns, and n_features_in_ is {features}")


def centers(context: Context) -> None:
    """Check that k-means compares rows with centers of their width; partial_fit counts for each of them."""
    found = context.attributes()
    if found.get("cluster_centers_") is not None:
        _as_wide(found["cluster_centers_"], "cluster_centers_", found)
        rows = array_of(found["cluster_centers_"], "cluster_centers_").shape[0]
        need(
            "_counts" not in found or length_of(found["_counts"], "_counts") == rows,
            "_counts does not have the length of cluster_centers_",
        )
    tree = found.get("_bisecting_tree")
    if tree is not None:
        kind = tree.native if isinstance(tree, Instance) and tree.built else None
        width = found.get("n_features_in_")
        need(kind == ("center", width), "_bisecting_tree does not have centers of n_features_in_ columns")


def bisecting_tree(context: Context) -> None:
    """Keep how wide the center of a cluster is, and with it those of the clusters that it was parted in."""
    found = context.attributes()
    center = array_of(found.get("center"), "center")
    need(len(center.shape) >= 1, "center is a number")
    context.target.native = ("center", center.shape[-1])
    for side in ("left", "right"):
        part = found.get(side)
        kind = part.native if isinstance(part, Instance) and part.built else None
        need(
            part is None or kind == context.target.native,
            f"its {side} cluster does not have a center of the same width",
        )


def neighbours(context: Context) -> None:
    """Rows are compared with data of their width, and scipy reads a matrix VI as wide, whatever its shape is."""
    found = context.attributes()
    method = found.get("_fit_method")
    # Fitted on fitted neighbours, they know no number of features; a tree asks its own, compiled brute force does not.
    asks = isinstance(method, str) and method in ("kd_tree", "ball_tree") and "n_features_in_" not in found
    if found.get("_fit_X") is not None and not asks:
        _as_wide(found["_fit_X"], "_fit_X", found)
    options = found.get("effective_metric_params_")
    if options is None:
        return
    known = attributes(options)
    if known is None:  # a dict of another kind would be read, too
        raise OddError("effective_metric_params_ is not a dict of names")
    if "VI" not in known:
        return
    columns = array_of(found.get("_fit_X"), "_fit_X", dimensions=2).shape[1]
    shape = array_of(known["VI"], "VI", dimensions=2).shape
    need(shape == (columns, columns), f"VI is {shape[0]} by {shape[1]} for data of {columns} columns")


def neighbour_classifier(context: Context) -> None:
    """Predict counts votes by _y in a table as wide as there are classes."""
    neighbours(context)
    found = context.attributes()
    classes, chosen = found.get("classes_"), found.get("_y")
    if not isinstance(classes, Array) or chosen is None:
        return
    seen = integers_of(array_of(chosen, "_y"), "_y")
    need(
        seen.least >= 0 and seen.greatest < length_of(classes, "classes_"),
        f"_y has indices from {seen.least} to {seen.greatest} for {classes.shape[0]} classes",
    )


def _matrix_shape(found: Attributes) -> tuple[int, ...]:
    shape = found.get("_shape")
    if not isinstance(shape, tuple) or not 1 <= len(shape) <= 64:
        raise OddError("its shape is not a tuple of sizes")
    for size in shape:
        if whole(size, "its shape") < 0:
            raise OddError("its shape is negative")
    return shape


def _compressed(found: Attributes, rows: int, columns: int, stored: int) -> None:
    check_indices(found.get("indices"), "indices", columns, length=stored)
    pointers = array_of(found.get("indptr"), "indptr", dimensions=1)
    if pointers.shape[0] != rows + 1:
        raise OddError(f"indptr has {pointers.shape[0]} items for {rows} rows")
    seen = integers_of(pointers, "indptr")
    # Nor may room be left at the end: scipy takes it away whenever it makes one, and then trusts the length.
    if seen.first != 0 or not seen.rising or seen.last != stored:
        raise OddError(f"indptr does not rise from 0 to the {stored} stored values")


def csr(context: Context) -> None:
    found = context.attributes()
    shape = _matrix_shape(found)
    stored = length_of(found.get("data"), "data")
    if len(shape) > 2:
        raise OddError("it has more than two dimensions")
    rows, columns = shape if len(shape) == 2 else (1, shape[0])
    if context.target.origin.qualname.startswith("csc"):
        rows, columns = columns, rows
    indices = length_of(found.get("indices"), "indices")
    need(indices == stored, f"it has {stored} values and {indices} indices")
    _compressed(found, rows, columns, stored)
    context.target.native = ("matrix", shape, stored)


def bsr(context: Context) -> None:
    found = context.attributes()
    shape = _matrix_shape(found)
    stored, high, wide = array_of(found.get("data"), "data", dimensions=3).shape
    need(len(shape) == 2 and high >= 1 and wide >= 1, "its blocks are empty")
    need(shape[0] % high == 0 and shape[1] % wide == 0, "its shape is not a multiple of its blocks")
    _compressed(found, shape[0] // high, shape[1] // wide, stored)


def coo(context: Context) -> None:
    found = context.attributes()
    shape = _matrix_shape(found)
    stored = length_of(found.get("data"), "data")
    coords = found.get("coords")
    if coords is None:
        coords = (found.get("row"), found.get("col"))
    else:  # scipy reads coords from 1.13 on, and row and col before
        need("row" not in found and "col" not in found, "it has its indices twice")
    if not isinstance(coords, tuple) or len(coords) != len(shape):
        raise OddError("it does not have one array of indices for each dimension")
    for one, size in zip(coords, shape, strict=True):
        check_indices(one, "its indices", size, length=stored)


def dia(context: Context) -> None:
    found = context.attributes()
    shape = _matrix_shape(found)
    need(len(shape) == 2, "it does not have two dimensions")
    diagonals, length = array_of(found.get("data"), "data", dimensions=2).shape
    offsets = length_of(found.get("offsets"), "offsets")
    need(offsets == diagonals, f"it has {diagonals} diagonals and {offsets} offsets")
    # scipy adds them to its sizes, in 32 bits where all of these fit.
    array = array_of(found["offsets"], "offsets")
    seen = integers_of(array, "offsets")
    far = max(seen.greatest, -seen.least) + max(*shape, length)
    fits = far < 1 << 31 or (array.dtype.itemsize == 8 and far < 1 << 62)
    need(fits, "an offset is so large that it overflows")


def support_vectors(context: Context) -> None:
    """Libsvm copies by the number of support vectors and classes, whatever is there."""
    found = context.attributes()
    if found.get("support_vectors_") is None:
        return
    classify = context.target.origin.qualname in ("SVC", "NuSVC")
    vectors = found["support_vectors_"]
    dual = found.get("_dual_coef_")
    counts = array_of(found.get("_n_support"), "_n_support", dimensions=1)
    classes = counts.shape[0]
    need(
        classify or classes == 2,
        "_n_support does not have two counts, and libsvm would take their number for that of classes",
    )
    pairs = classes * (classes - 1) // 2
    need(
        length_of(found.get("_intercept_"), "_intercept_") == pairs,
        "_intercept_ does not have one item for each pair of classes",
    )
    lengths: set[int] = set()
    for name in ("_probA", "_probB", "probA_", "probB_"):
        if name in found:
            lengths.add(length_of(found[name], name))
            need(lengths in ({0}, {pairs}), f"{name} does not have one item for each pair of classes")
    if isinstance(vectors, Instance):
        stored = _sparse(vectors, "support_vectors_")[0][0]
        dual_shape, coefficients = _sparse(dual, "_dual_coef_")
        need(coefficients == (classes - 1) * stored, "_dual_coef_ stores fewer values than libsvm reads")
    else:
        stored = array_of(vectors, "support_vectors_", dimensions=2).shape[0]
        dual_shape = array_of(dual, "_dual_coef_", dimensions=2).shape
    support = length_of(found.get("support_"), "support_")
    need(
        "_impl" not in found and "_sparse_kernels" not in found,
        "it sets _impl or _sparse_kernels, which only its class may set",
    )
    kernel = found.get("kernel")
    # Of anything else nobody can tell what it equals: text of numpy's is a kernel's name, too.
    need(isinstance(kernel, (str, Global)) or is_function(kernel), "its kernel is neither plain text nor a function")
    if kernel == "precomputed" or not isinstance(kernel, str):
        need(
            not isinstance(vectors, Instance),
            "its support vectors are sparse, and libsvm would take their values for indices",
        )
        # Rows are what the kernel gives for each row of the training data; support_ leads to those that count.
        fitted = found.get("shape_fit_")
        rows = whole(fitted[0], "shape_fit_") if isinstance(fitted, tuple) and fitted else 0
        check_indices(found["support_"], "support_", rows)
        stored = support
    need(dual_shape == (classes - 1, stored), "_dual_coef_ does not have the shape of its support vectors")
    need(support == stored, "support_ does not have the length of its support vectors")
    if classify:
        seen = integers_of(counts, "_n_support")
        need(seen.least >= 0 and seen.total == stored, "_n_support does not add up to its support vectors")


def _sparse(matrix: object, what: str) -> tuple[tuple[int, ...], int]:
    """Return the shape of a sparse matrix whose own indices were checked, and how many values it stores."""
    native = matrix.native if isinstance(matrix, Instance) and matrix.built else None
    if not (isinstance(native, tuple) and native[0] == "matrix" and len(native[1]) == 2):
        raise OddError(f"{what} is not a complete sparse matrix")
    shape: tuple[int, ...] = native[1]
    stored: int = native[2]
    return shape, stored


def _placement(value: object) -> tuple[int, int, int]:
    """Return the least and the greatest column of a block, and how many there are."""
    if isinstance(value, Instance) and value.origin.check is SLICE:
        if not isinstance(value.native, tuple) or len(value.native) != 3:
            raise OddError("the slice of its columns is not complete")
        start, stop, step = value.native
        # As pandas ends one that goes down to the first.
        columns = range(whole(start, "start"), -1 if stop is None else whole(stop, "stop"), whole(step, "step") or 1)
        if not columns:
            return 0, -1, 0
        return min(columns[0], columns[-1]), max(columns[0], columns[-1]), len(columns)
    seen = integers_of(array_of(value, "placement", dimensions=1), "placement")
    return seen.least, seen.greatest, seen.count


def block(made: Instance) -> None:
    """Keep which columns a block of a frame is for."""
    args = made.native
    if not isinstance(args, tuple) or len(args) != 3:
        raise OddError("a block does not consist of values, placement and dimensions")
    made.native = _placement(args[1])


def blocks(made: Instance) -> None:
    """Without asking, pandas writes into a table of columns where its blocks say that their columns are."""
    args = made.native
    if not isinstance(args, tuple) or not args or not isinstance(args[0], tuple):
        raise OddError("its blocks are not a tuple")
    placed = [one.native for one in args[0] if isinstance(one, Instance) and one.origin.check is BLOCK]
    if len(placed) != len(args[0]) or not all(isinstance(one, tuple) for one in placed):
        raise OddError("its blocks are not complete")
    total = sum(count for _, _, count in placed)
    for least, greatest, _ in placed:
        need(least >= 0 and greatest < total, f"it has column numbers from {least} to {greatest} for {total} columns")


# Of each class, which kind the array is that it keeps, as numpy letters them, and its dtype ("" for numpy's own).
_KEPT: Final = {
    "Categorical": ("i", ("CategoricalDtype",)),
    "DatetimeArray": ("M", ("", "DatetimeTZDtype")),
    "PeriodArray": ("i", ("PeriodDtype",)),
    "StringArray": ("O", ("StringDtype",)),
    "TimedeltaArray": ("m", ("",)),
}


def typed_array(context: Context) -> None:
    """Pandas reads an array of times, codes or texts as what the class keeps, whatever it is of."""
    state = context.state
    args = context.target.native
    if not (isinstance(args, tuple) and args and isinstance(args[0], Global) and args[0].qualname in _KEPT):
        raise OddError("it was not created from a class that keeps an array")
    kind, kinds = _KEPT[args[0].qualname]
    if not (isinstance(state, tuple) and len(state) >= 2):
        raise OddError("its state is not a dtype and an array")
    kept = array_of(state[1], "its array")
    need(1 <= len(kept.shape) <= 2 and kept.dtype.kind == kind, f"it keeps an array of {shown(kept.dtype.str)}")
    named = state[0].origin.qualname if isinstance(state[0], Instance) else ""
    need(named in kinds, f"its dtype is {describe(state[0])}")
    if not named:
        need(isinstance(state[0], DType) and state[0].real == kept.dtype, "its dtype is not that of its array")


SLICE: Final[Check] = Check(None)
BLOCK: Final[Check] = Check(None, made=block)
BLOCKS: Final[Check] = Check(None, made=blocks)
TYPED_ARRAY: Final[Check] = Check(typed_array, needs_state=True)
