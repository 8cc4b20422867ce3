"""Say why an honest file is refused, where its bytes or its names tell: another format, or another age.

The scanner says what it met, which for a Git LFS pointer or a pickle of Python 2 reads like an attack. Only files that
are refused already come here, and nothing becomes allowed by it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from safeload._scan.foreign import FOREIGN_BYTES, foreign_format
from safeload._scan.sources import detect_compression, open_source
from safeload.findings import Finding, RefusedError
from safeload.policy import denied_reason

if TYPE_CHECKING:
    import io

    from safeload._scan import Trace

__all__ = ["reason_of_name", "reason_of_state", "true_reasons"]

_OLD_STRINGS: Final = frozenset({"STRING", "BINSTRING", "SHORT_BINSTRING"})
_PUTS: Final = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_MANGLED_LINES: Final = 3  # so many line ends, and each with a carriage return: no chance in bytes of a pickle
_MALFORMED: Final = ("SL3", "SL507", "SL508")  # what a changed byte may come to; a limit or a policy says enough
_PYTHON_2: Final = (
    "The rest of it was not scanned. Train the model again. Only if you trust whoever made the file, load it in a "
    "container without network and secrets, with the versions that wrote it, and save it again with a current joblib."
)
_BINARY: Final = (
    "Copy the file again as binary, without converting line ends (git: *.joblib binary in .gitattributes; "
    "ftp: binary mode)."
)
_AGAIN: Final = (
    "Train the model again. Or, if you trust whoever made the file, load it there, in isolation, and save it again "
    "under the names of today."
)
_BY_CODE: Final = (
    "Put the function or class into a module that can be imported where the artifact is loaded, import it from there, "
    "and save again with joblib.dump. Then list it in a policy."
)

# Modules of sklearn that got an underscore, or another name, in 0.22; the old ones were gone with 0.24.
_MOVED: Final = """
    cluster.affinity_propagation_ cluster.bicluster cluster.birch cluster.dbscan_ cluster.hierarchical
    cluster.k_means_ cluster.mean_shift_ cluster.optics_ cluster.spectral covariance.elliptic_envelope
    covariance.empirical_covariance_ covariance.graph_lasso_ covariance.robust_covariance
    covariance.shrunk_covariance_ cross_decomposition.cca_ cross_decomposition.pls_ decomposition.base
    decomposition.dict_learning decomposition.factor_analysis decomposition.fastica_ decomposition.incremental_pca
    decomposition.kernel_pca decomposition.nmf decomposition.online_lda decomposition.pca decomposition.sparse_pca
    decomposition.truncated_svd ensemble.bagging ensemble.base ensemble.forest ensemble.gradient_boosting
    ensemble.iforest ensemble.voting ensemble.voting_classifier ensemble.weight_boosting
    feature_extraction.dict_vectorizer feature_extraction.hashing feature_selection.base
    feature_selection.from_model feature_selection.mutual_info_ feature_selection.rfe
    feature_selection.univariate_selection feature_selection.variance_threshold gaussian_process.gpc
    gaussian_process.gpr linear_model.base linear_model.bayes linear_model.cd_fast linear_model.coordinate_descent
    linear_model.huber linear_model.least_angle linear_model.logistic linear_model.omp
    linear_model.passive_aggressive linear_model.perceptron linear_model.ransac linear_model.ridge
    linear_model.sgd_fast linear_model.stochastic_gradient linear_model.theil_sen manifold.isomap
    manifold.locally_linear manifold.mds manifold.spectral_embedding_ manifold.t_sne metrics.classification
    metrics.ranking metrics.regression metrics.scorer mixture.base mixture.bayesian_mixture mixture.gaussian_mixture
    mixture.gmm neighbors.ball_tree neighbors.base neighbors.classification neighbors.dist_metrics neighbors.kd_tree
    neighbors.kde neighbors.lof neighbors.nearest_centroid neighbors.regression neighbors.unsupervised
    neural_network.multilayer_perceptron neural_network.rbm
    preprocessing.data preprocessing.label semi_supervised.label_propagation svm.base svm.classes tree.tree
    utils.deprecation.DeprecationDict
"""
_OLD_SKLEARN: Final = "written by scikit-learn before 0.23"
# What left a library, and who wrote it; a name counts with all that is below it. The longest match counts.
_GONE: Final[dict[str, str]] = {
    "sklearn.externals.joblib": f"sklearn.externals.joblib left scikit-learn: {_OLD_SKLEARN}",
    "sklearn.externals.six": f"sklearn.externals.six left scikit-learn: {_OLD_SKLEARN}",
    "sklearn.cross_validation": "this module left scikit-learn: written by scikit-learn before 0.20",
    "sklearn.grid_search": "this module left scikit-learn: written by scikit-learn before 0.20",
    "sklearn.learning_curve": "this module left scikit-learn: written by scikit-learn before 0.20",
    "sklearn.lda": "this module left scikit-learn: written by scikit-learn before 0.19",
    "sklearn.qda": "this module left scikit-learn: written by scikit-learn before 0.19",
    "sklearn.hmm": "this module left scikit-learn: written by scikit-learn before 0.17",
    "sklearn.preprocessing.imputation": "this module left scikit-learn: written by scikit-learn before 0.22",
    "sklearn.ensemble._hist_gradient_boosting.loss": "this module left scikit-learn: written by one before 1.1",
    "pandas.core.indexes.numeric": "this module left pandas: written by pandas before 2.0",
    "pandas.core.index": "this module left pandas: written by pandas before 2.0",
    "pandas.core.panel": "this module left pandas: written by pandas before 1.0",
    "pandas.core.sparse": "this module left pandas: written by pandas before 1.0",
    "pandas.core.categorical": "this module left pandas: written by pandas before 1.0",
    "pandas.core.indexes.frozen.FrozenNDArray": "this class left pandas: written by pandas before 1.0",
    "pandas.core.base.FrozenNDArray": "this class left pandas: written by pandas before 0.24",
    "pandas.indexes": "this module left pandas: written by pandas before 0.20",
    "pandas.tslib": "this module left pandas: written by pandas before 1.0",
    "pandas.lib": "this module left pandas: written by pandas before 0.23",
    "pandas.index": "this module left pandas: written by pandas before 0.20",
    "pandas.sparse": "this module left pandas: written by pandas before 0.20",
    "pandas.types": "this module left pandas: written by pandas before 0.23",
    "numpy.oldnumeric": "this module left numpy: written with numpy before 1.9",
    "numpy.numarray": "this module left numpy: written with numpy before 1.9",
    **{
        f"sklearn.{module}": f"this module left scikit-learn, which has it under another name now: {_OLD_SKLEARN}"
        for module in _MOVED.split()
    },
}
_BY_CODE_MODULES: Final = ("dill", "cloudpickle", "joblib.externals.cloudpickle", "pyspark.cloudpickle")


_IN_MAIN: Final = (
    "Move it from the script or notebook into a module, such as features.py, import it from there "
    "(from features import …), and save the artifact again. Then allow it in a policy: safeload policy learn FILE."
)
_ATTRIBUTE: Final = re.compile(r"its attribute '(\w+)' is (not listed)?", re.ASCII)
_UNLISTED: Final = (
    "Delete the attribute before saving, or save with a version of the library that the pack was reviewed for."
)
# What to do about an attribute that honest files have in a form which the packs refuse.
_FIXES: Final[dict[str, str]] = {
    "memory": "Call set_params(memory=None) on it before saving.",
    "_network": "Call free_network() on the booster before saving.",
    "network": "Call free_network() on the booster before saving.",
}


def reason_of_state(finding: Finding) -> Finding:
    """Return a finding about a state with the fix, where the attribute that it names tells."""
    named = _ATTRIBUTE.match(finding.message) if finding.code == "SL404" else None
    if named is None:
        return finding
    fix = _FIXES.get(named[1]) or (_UNLISTED if named[2] else f"Give {named[1]} a value that is allowed before saving.")
    return replace(finding, advice=fix)


def reason_of_name(finding: Finding) -> Finding:
    """Return a finding about a global with its true reason, where the name tells: it left its library, or is dill's."""
    name = finding.global_name
    if name is None or finding.code not in ("SL401", "SL402", "SL405"):
        return finding
    if name.startswith("__main__."):
        message = "it is defined in the script or notebook that saved it, and __main__ is another program elsewhere"
        return replace(finding, code="SL405", message=message, advice=_IN_MAIN)
    for module in _BY_CODE_MODULES:
        if name.startswith(f"{module}."):
            package = "cloudpickle" if "cloudpickle" in module else "dill"
            message = f"{package} wrote the code of a function or class into this file, and loading would run that code"
            return replace(finding, code="SL405", message=message, advice=_BY_CODE)
    parts = name.split(".")
    for end in range(len(parts), 1, -1):
        reason = _GONE.get(".".join(parts[:end]))
        if reason is not None:
            return replace(finding, code="SL406", message=reason, advice=_AGAIN)
    return finding


def true_reasons(
    stream: io.BufferedReader[Any], size: int, findings: tuple[Finding, ...], trace: Trace
) -> tuple[Finding, ...]:
    """Return the findings of a refused artifact with the true reason first, where its bytes tell one.

    The stream may stand anywhere, and stands where it was afterwards.
    """
    if not findings or not findings[0].code.startswith(_MALFORMED):
        return findings
    if any(one.global_name is not None and denied_reason(one.global_name) is not None for one in findings):
        return findings  # whatever wrote it, it is an attack, and no advice may lead to loading it
    place = stream.tell()
    try:
        stream.seek(0)
        first = stream.read(FOREIGN_BYTES)
        found = None if trace.globals else foreign_format(first)
        if found is not None:
            return (Finding(found.code, f"this is {found.what}", None, None, found.instead),)
        if _is_mangled(first):
            message = "its line ends or characters seem to have been converted, as if it were a text"
            return (Finding("SL328", message, None, None, _BINARY), *findings)
        if trace.protocol <= 2 and _by_python_2(_unpacked(stream, first, size)):
            message = f"this is a pickle of Python 2, whose strings and memo differ ({findings[0].message})"
            return (Finding("SL329", message, findings[0].offset, None, _PYTHON_2), *findings[1:])
        return findings
    finally:
        stream.seek(place)


def _is_mangled(first: bytes) -> bool:
    lines = first.count(b"\n")
    return (lines >= _MANGLED_LINES and first.count(b"\r\n") == lines) or first.count(b"\xef\xbf\xbd") >= _MANGLED_LINES


def _unpacked(stream: io.BufferedReader[Any], first: bytes, size: int) -> bytes:
    if detect_compression(first) == "none":
        return first
    stream.seek(0)
    try:
        source, _ = open_source(stream, size, max_unpacked=FOREIGN_BYTES << 8, max_ratio=float("inf"))
        return source.read(FOREIGN_BYTES)
    except RefusedError:
        return b""


def _by_python_2(first: bytes) -> bool:
    """Tell whether a pickle has strings of Python 2, or a memo that counts from 1, as its cPickle did."""
    import pickletools  # here: only a refusal needs it

    puts = 0
    try:
        for opcode, argument, _ in pickletools.genops(first):
            if opcode.name in _OLD_STRINGS:
                return True
            if opcode.name in _PUTS:
                if puts == 0 and argument == 1:
                    return True
                puts += 1
    except Exception:  # noqa: BLE001 - the bytes are cut off, or anything at all; then nothing is said
        return False
    return False
