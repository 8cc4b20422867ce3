"""The entries of the denylist: data without code, sorted by the reason that each entry has.

Add a name where it is defined, not where it is re-exported: pickles name the defining module. Add its public names,
too, since people write those into policies. Write `numpy._core`: numpy before 2 calls it `numpy.core`, and both are
denied. `_denylist` strips the packages that vendor others, so `a.externals.dill`
needs no entry of its own.
"""

from __future__ import annotations

from typing import Final

__all__ = ["COPIES", "HARMLESS_STDLIB", "MODULES", "NAMES", "UNPICKLES", "VENDORED"]

RUNS: Final = "it runs code or commands"
COMPILES: Final = "it compiles or evaluates what it is given as code"
IMPORTS: Final = "it imports what it is given the name of"
UNPICKLES: Final = "it unpickles what it is given"
FILES: Final = "it opens, writes or deletes files"
NETWORK: Final = "it opens connections"
SPAWNS: Final = "it starts processes or threads"
REACHES: Final = "it reaches from an object to the interpreter behind it"
MEMORY: Final = "it reads and writes memory directly"
PROCESS: Final = "it changes the process"
LOADS: Final = "it loads models or libraries from files, and runs code that they hold"
MAKES: Final = "it makes classes or functions out of what it is given"
CALLS: Final = "it calls the functions that it is given"

# A module here stands for everything below it.
MODULES: Final[dict[str, str]] = {
    RUNS: """
        _aix_support _bootsubprocess _curses _curses_panel _distutils_hack _lsprof _msi _osx_support
        _posixsubprocess _pyrepl _pytest _testcapi _testinternalcapi _testlimitedcapi _tkinter airflow
        antigravity bdb bokeh.server bottle celery cgi cgitb cherrypy click cmd commands cProfile curses dagster
        distutils django doctest dramatiq ensurepip fabric fastapi flask gradio gunicorn huey hypothesis idlelib
        invoke ipykernel IPython jupyter_client jupyter_core kedro lib2to3 luigi metaflow modulefinder msilib
        nbconvert nbformat nose notebook nt numpy._pytesttester numpy.ctypeslib numpy.distutils numpy.f2py
        numpy.testing os pandas._testing pandas.testing pandas.util._print_versions pandas.util._tester paramiko
        pdb pexpect pip pipes platform plumbum popen2 posix prefect profile profiling pty ptyprocess pyclbr
        pydoc pydoc_data pytest rlcompleter rq runpy sched scipy._build_utils scipy._lib._testutils setuptools
        sklearn._build_utils sklearn.utils._show_versions sklearn.utils._testing starlette streamlit subprocess
        tabnanny test.libregrtest test.support this timeit tkinter torch.hub torch.testing
        torch.utils.bottleneck torch.utils.collect_env tornado trace turtle turtledemo typer unittest uvicorn
        venv webbrowser wsgiref zipapp
    """,
    COMPILES: """
        _ast _opcode _opcode_metadata _symtable _tokenize aesara.compile ast asteval chameleon code codeop
        compileall cupy._core.raw cupy.cuda Cython cython dis formulaic genshi jax._src.pjit
        jax.experimental.host_callback jinja2 llvmlite mako numba numexpr.evaluate numexpr.necompiler opcode
        pandas.core.computation patsy.eval py_compile pycuda pyopencl pytensor.compile pythran pyximport
        RestrictedPython simpleeval sympy.core.sympify sympy.external sympy.parsing sympy.plotting
        sympy.utilities._compilation sympy.utilities.autowrap sympy.utilities.lambdify symtable
        tensorflow.python.autograph tensorflow.python.eager.polymorphic_function theano.compile tokenize
        torch._C._jit torch._classes torch._dynamo torch._inductor torch._ops torch.classes torch.compiler
        torch.export torch.fx torch.jit torch.library torch.onnx torch.ops torch.package
        torch.utils.cpp_extension
    """,
    IMPORTS: """
        _frozen_importlib _frozen_importlib_external _imp _sitebuiltins encodings hydra imp importlib
        importlib_metadata importlib_resources lazy_loader omegaconf.resolvers pkg_resources pkgutil pluggy site
        stevedore sysconfig zipimport
    """,
    UNPICKLES: """
        _compat_pickle _pickle cloudpickle cPickle dill gensim.utils hickle joblib.externals joblib.func_inspect
        joblib.hashing joblib.numpy_pickle_compat jsonpickle klepto loky marshal nltk.data numba.core.serialize
        numpy.compat.py3k numpy.lib._format_impl numpy.lib._npyio_impl numpy.lib.format numpy.lib.npyio
        pandas.compat.pickle_compat pandas.io.pickle pickle pickle5 pickleshare pickletools
        pyarrow.serialization ruamel shelve skops srsly statsmodels.datasets statsmodels.iolib.smpickle
        torch._weights_only_unpickler torch.serialization xarray.backends yaml zodbpickle
    """,
    LOADS: """
        autogluon.common.loaders autogluon.core.utils.loaders bentoml coremltools daal4py.mb diffusers
        fastai.learner flair.file_utils gensim.models.keyedvectors h2o huggingface_hub jnius jpype keras.models
        keras.saving keras.src.models.model keras.src.saving kserve lightning.pytorch.core.saving
        lightning_fabric lleaves matlab mlflow oct2py onnx onnxruntime openvino pomegranate.io prophet.serialize
        py4j pycaret.internal.persistence pyspark pytorch_lightning.core.saving rpy2 seldon_core
        sentence_transformers.SentenceTransformer sentence_transformers.util spacy.language spacy.util
        surprise.dump tensorflow.io tensorflow.python.framework.load_library tensorflow.python.keras.saving
        tensorflow.python.lib.io tensorflow.python.saved_model tensorflow.python.training tensorflow.saved_model
        tensorrt tf_keras.saving tf_keras.src.saving tflite_runtime tl2cgen transformers.dynamic_module_utils
        transformers.modeling_utils transformers.pipelines transformers.utils.hub treelite
    """,
    FILES: """
        _compression _crypt _csv _dbm _elementtree _gdbm _io _locale _overlapped _pyio _sqlite3 _winapi
        _zoneinfo _zstd aifc audioop avro bz2 chunk compression configparser crypt csv cv2 cx_Oracle dbm
        diskcache duckdb dvc fastavro fastparquet fcntl filecmp fileinput filelock fiona genericpath
        geopandas.io getpass gettext glob grp gzip h5py imageio imghdr io joblib._memmapping_reducer
        joblib._store_backends joblib.disk joblib.logger leveldb librosa.core.audio lightgbm.libpath linecache
        lmdb locale logging lxml lzma mailbox mailcap matplotlib.animation matplotlib.backends matplotlib.image
        matplotlib.pyplot mimetypes mmap msvcrt MySQLdb netCDF4 netrc nibabel nis ntpath nturl2path
        numpy._core.memmap numpy.lib._datasource odf openpyxl oracledb ossaudiodev pandas.io pathlib peewee
        PIL.Image PIL.ImageFile PIL.ImageShow plistlib plyvel polars.io portalocker posixpath pstats psycopg
        psycopg2 pwd pyarrow.csv pyarrow.dataset pyarrow.feather pyarrow.flight pyarrow.fs pyarrow.io
        pyarrow.ipc pyarrow.json pyarrow.orc pyarrow.parquet pyarrow.plasma pydicom pyexpat pymysql pyodbc
        pyxlsb rasterio readline scipy.datasets scipy.io scipy.misc shutil skimage.io sndhdr soundfile spwd
        sqlalchemy sqlite3 sunau syslog tarfile tempfile termios tomllib torchaudio torchvision.io tty uu wave
        winreg winsound xdrlib xgboost.libpath xlrd xlsxwriter xlwt xml zarr zipfile zoneinfo zstd
    """,
    NETWORK: """
        _scproxy _socket _ssl adlfs aiohttp anthropic asynchat asyncore azure boto3 botocore cassandra clearml
        cohere comet_ml confluent_kafka elasticsearch email fsspec ftplib gcsfs gdown google.cloud grpc http
        httpcore httpx imaplib kafka kaggle langchain minio neptune nntplib openai pandas_datareader pika
        playwright pooch poplib pymongo redis requests s3fs scrapy select selectors selenium sentry_sdk
        sklearn.datasets._arff_parser sklearn.datasets._california_housing sklearn.datasets._covtype
        sklearn.datasets._kddcup99 sklearn.datasets._lfw sklearn.datasets._olivetti_faces
        sklearn.datasets._openml sklearn.datasets._rcv1 sklearn.datasets._species_distributions
        sklearn.datasets._svmlight_format_io sklearn.datasets._twenty_newsgroups smart_open smtpd smtplib socket
        socketserver ssl telnetlib tensorboard tensorboardX urllib urllib3 wandb websocket websockets
        xgboost.collective xgboost.tracker xmlrpc yfinance zmq
    """,
    SPAWNS: """
        _asyncio _interpchannels _interpqueues _interpreters _multiprocessing _posixshmem _queue
        _remote_debugging _thread _threading_local _xxinterpchannels _xxsubinterpreters anyio asyncio billiard
        concurrent curio dask distributed eventlet gevent horovod ipyparallel joblib._cloudpickle_wrapper
        joblib._dask joblib._multiprocessing_helpers joblib._parallel_backends joblib.backports joblib.executor
        joblib.parallel joblib.pool lightgbm.dask lightgbm.engine multiprocess multiprocessing pathos ppft
        psutil queue ray sklearn.utils.parallel threading torch.cuda torch.distributed torch.futures
        torch.monitor torch.multiprocessing torch.profiler torch.utils.data trio tune_sklearn twisted
        xgboost.dask xgboost.spark
    """,
    REACHES: """
        _operator _tracemalloc _weakref _weakrefset annotationlib bytecode byteplay codetransformer decorator
        forbiddenfruit gc inspect objgraph operator pympler traceback tracemalloc weakref wrapt
    """,
    MEMORY: """
        _cffi_backend _ctypes cffi ctypes cupy.lib.stride_tricks lightgbm.dataset llvmlite.binding
        numpy._core._internal pyarrow.cffi scipy._lib._ccallback torch._C._functions torch.utils.dlpack
    """,
    PROCESS: """
        _contextvars _signal _warnings _wmi absl atexit colorama contextvars dotenv faulthandler pandas._config
        pandas.core.config_init resource setproctitle signal sklearn._config
        sklearn.utils._metadata_requests.RequestMethod sys threadpoolctl warnings
    """,
    CALLS: """
        argparse contextlib getopt optparse
    """,
}  # fmt: skip

NAMES: Final[dict[str, str]] = {
    RUNS: """
        builtins.breakpoint builtins.eval builtins.exec builtins.help builtins.input numpy.test
        pandas.show_versions pandas.test scipy.test sklearn.show_versions types.CodeType types.FunctionType
        types.LambdaType
    """,
    COMPILES: """
        builtins.compile numexpr.re_evaluate pandas.eval patsy.build.build_design_matrices
        patsy.build_design_matrices patsy.dmatrices patsy.dmatrix patsy.highlevel.build_design_matrices
        patsy.highlevel.dmatrices patsy.highlevel.dmatrix sklearn2pmml.expression.Expression
        sklearn2pmml.preprocessing.ExpressionTransformer sklearn2pmml.util.evaluate statsmodels.formula.api.ols
        string.Formatter sympy.core.parameters.evaluate sympy.lambdify sympy.parse_expr sympy.S sympy.sympify
        torch.compile typing._eval_type typing.evaluate_forward_ref typing.ForwardRef typing.get_type_hints
        typing_extensions.evaluate_forward_ref typing_extensions.get_type_hints
    """,
    IMPORTS: """
        _codecs.decode _codecs.lookup builtins.__import__ codecs.decode codecs.encode codecs.getdecoder
        codecs.getencoder codecs.getincrementaldecoder codecs.getincrementalencoder codecs.getreader
        codecs.getwriter codecs.lookup pandas.compat._optional.import_optional_dependency
        pydantic.types.ImportString scipy._lib.deprecation._sub_module_deprecation
        sklearn.utils._optional_dependencies.check_matplotlib_support
        sklearn.utils._optional_dependencies.check_pandas_support test.support.import_helper.import_module
        torch._utils._import_dotted_name
    """,
    UNPICKLES: """
        hdbscan.load joblib.load joblib.numpy_pickle._unpickle joblib.numpy_pickle.load
        joblib.numpy_pickle.load_temporary_memmap joblib.numpy_pickle.NumpyUnpickler nltk.load numpy.load
        numpy.loads numpy.ma.core.load numpy.ma.core.loads numpy.ma.load numpy.ma.loads pandas.read_pickle
        sentence_transformers.load statsmodels.api.load statsmodels.iolib.api.load_pickle torch.load
        torch.storage._load_from_bytes torch.utils.data.datapipes.datapipe._IterDataPipeSerializationWrapper
        torch.utils.data.datapipes.datapipe._MapDataPipeSerializationWrapper xgboost.core._deserialize
    """,
    LOADS: """
        catboost.core._CatBoost gensim.utils.SaveLoad lightgbm.basic._load_lib scipy.sparse._matrix_io.load_npz
        scipy.sparse.load_npz spacy.load tensorflow.keras.models.load_model tensorflow.load_library
        tensorflow.load_op_library torch.jit.load torch.ops.load_library transformers.AutoModel
        transformers.pipeline xgboost.core._load_lib xgboost.core.DataIter
    """,
    FILES: """
        builtins.open catboost.core.Pool catboost.Pool codecs.EncodedFile codecs.open codecs.StreamReaderWriter
        joblib.compressor.BinaryGzipFile joblib.compressor.BinaryZlibFile joblib.compressor.CompressorWrapper
        joblib.compressor.register_compressor joblib.dump joblib.MemorizedResult
        joblib.memory._store_backend_factory joblib.memory.AsyncMemorizedFunc joblib.memory.MemorizedFunc
        joblib.memory.MemorizedResult joblib.memory.register_store_backend joblib.numpy_pickle.dump
        joblib.numpy_pickle.NDArrayWrapper joblib.numpy_pickle.NumpyPickler joblib.numpy_pickle.ZNDArrayWrapper
        joblib.numpy_pickle_utils._read_fileobject joblib.register_compressor joblib.register_parallel_backend
        joblib.register_store_backend json.dump json.load lightgbm.basic.Dataset lightgbm.basic.Sequence
        lightgbm.Dataset numpy._core._multiarray_umath._load_from_filelike
        numpy._core._multiarray_umath.fromfile numpy._core.multiarray._load_from_filelike
        numpy._core.multiarray.fromfile numpy._core.records.fromfile numpy.DataSource numpy.fromfile
        numpy.fromregex numpy.genfromtxt numpy.lib.format.open_memmap numpy.loadtxt numpy.mafromtxt
        numpy.ndfromtxt numpy.rec.fromfile numpy.recfromcsv numpy.recfromtxt numpy.save numpy.savetxt
        numpy.savez numpy.savez_compressed pandas.ExcelFile pandas.ExcelWriter pandas.HDFStore
        pandas.read_clipboard pandas.read_csv pandas.read_excel pandas.read_feather pandas.read_fwf
        pandas.read_gbq pandas.read_hdf pandas.read_html pandas.read_iceberg pandas.read_json pandas.read_orc
        pandas.read_parquet pandas.read_sas pandas.read_spss pandas.read_sql pandas.read_sql_query
        pandas.read_sql_table pandas.read_stata pandas.read_table pandas.read_xml pandas.to_pickle
        polars.read_avro polars.read_csv polars.read_database polars.read_delta polars.read_excel
        polars.read_ipc polars.read_json polars.read_ndjson polars.read_ods polars.read_parquet polars.scan_csv
        polars.scan_delta polars.scan_ipc polars.scan_ndjson polars.scan_parquet polars.SQLContext
        scipy.sparse._matrix_io.save_npz scipy.sparse.save_npz sklearn.datasets._base.load_files
        sklearn.datasets.dump_svmlight_file sklearn.datasets.load_files sklearn.datasets.load_svmlight_file
        sklearn.tree._export.export_graphviz sklearn.tree.export_graphviz torch.from_file torch.save
        torch.serialization.save xgboost.callback.TrainingCheckPoint xgboost.core.DMatrix
        xgboost.core.ExtMemQuantileDMatrix xgboost.core.QuantileDMatrix xgboost.DMatrix
        xgboost.ExtMemQuantileDMatrix xgboost.QuantileDMatrix
    """,
    NETWORK: """
        sklearn.datasets.fetch_openml
    """,
    SPAWNS: """
        joblib.delayed joblib.Parallel joblib.parallel_backend joblib.parallel_config
        joblib.wrap_non_picklable_objects sklearn.externals._joblib.Parallel sklearn.utils.fixes.Parallel
    """,
    REACHES: """
        builtins.classmethod builtins.delattr builtins.dir builtins.globals builtins.locals builtins.property
        builtins.setattr builtins.staticmethod builtins.super builtins.vars functools.cached_property
        functools.singledispatch functools.singledispatchmethod functools.update_wrapper functools.wraps
        numpy._core._ufunc_reconstruct numpy.get_include numpy.info numpy.lib.utils.get_include numpy.source
        sklearn.utils._available_if._AvailableIfDescriptor sklearn.utils._available_if.available_if
        sklearn.utils.metaestimators.available_if types.CellType types.FrameType types.GetSetDescriptorType
        types.MemberDescriptorType types.TracebackType
    """,
    MAKES: """
        abc.ABCMeta attr.make_class attrs.make_class collections.namedtuple dataclasses._create_fn
        dataclasses.dataclass dataclasses.make_dataclass enum.Enum enum.EnumMeta enum.EnumType
        marshmallow.schema.Schema numpy._core._multiarray_umath.frompyfunc numpy._core.umath.frompyfunc
        numpy.frompyfunc numpy.lib._function_base_impl.vectorize numpy.lib.function_base.vectorize
        pydantic.create_model pydantic.main.create_model sklearn.metrics._scorer.make_scorer
        sklearn.metrics.make_scorer types.coroutine types.DynamicClassAttribute types.MethodType
        types.ModuleType types.new_class types.prepare_class types.resolve_bases typing.NamedTuple
        typing.NewType typing.TypedDict
    """,
    MEMORY: """
        numpy.lib._stride_tricks_impl.as_strided numpy.lib._stride_tricks_impl.DummyArray
        numpy.lib.stride_tricks.as_strided numpy.lib.stride_tricks.DummyArray
        array._array_reconstructor builtins.memoryview lightgbm.basic._ConfigAliases
        lightgbm.basic._InnerPredictor numpy._core._multiarray_umath._set_madvise_hugepage
        numpy._core._multiarray_umath.from_dlpack numpy._core._multiarray_umath.frombuffer
        numpy._core.multiarray.from_dlpack numpy._core.multiarray.frombuffer numpy.from_dlpack numpy.frombuffer
        polars._plr.PySeries._import_arrow_from_c pyarrow.foreign_buffer pyarrow.lib._import
        pyarrow.lib.foreign_buffer scipy.LowLevelCallable torch.as_strided torch.from_dlpack torch.frombuffer
    """,
    PROCESS: """
        _codecs.register _codecs.register_error _codecs.unregister _decimal.localcontext _decimal.setcontext
        abc.update_abstractmethods builtins.exit builtins.quit codecs.register codecs.register_error
        codecs.unregister copyreg.add_extension copyreg.clear_extension_cache copyreg.constructor copyreg.pickle
        copyreg.remove_extension decimal.localcontext decimal.setcontext lightgbm.basic.register_logger
        lightgbm.register_logger matplotlib.use numpy._core._multiarray_umath._set_numpy_warn_if_no_mem_policy
        numpy._core._multiarray_umath.set_handler numpy._core._multiarray_umath.set_typeDict
        numpy._core._ufunc_config.errstate numpy._core._ufunc_config.setbufsize numpy._core._ufunc_config.seterr
        numpy._core._ufunc_config.seterrcall numpy._core.arrayprint.printoptions
        numpy._core._multiarray_umath._add_newdoc_ufunc numpy._core._multiarray_umath.add_docstring
        numpy._core.arrayprint.set_printoptions numpy._core.arrayprint.set_string_function
        numpy._core.function_base.add_newdoc numpy._core.multiarray.set_typeDict numpy.add_docstring
        numpy._core.multiarray.add_docstring numpy.lib.add_docstring numpy.lib.add_newdoc
        numpy.add_newdoc numpy.add_newdoc_ufunc numpy.errstate numpy.printoptions numpy.random.mtrand.seed
        numpy.random.mtrand.set_bit_generator numpy.random.mtrand.set_state numpy.random.seed
        numpy.random.set_bit_generator numpy.random.set_state numpy.set_printoptions numpy.set_string_function
        numpy.setbufsize numpy.seterr numpy.seterrcall numpy.seterrobj
        pandas.core.arrays.arrow.extension_types.patch_pyarrow pandas.option_context pandas.reset_option
        pandas.set_option random.seed random.setstate re.purge scipy.fft.register_backend scipy.fft.set_backend
        scipy.fft.set_global_backend scipy.fft.set_workers scipy.special._ufuncs.seterr
        scipy.special._ufuncs_extra_code.errstate scipy.special.errstate scipy.special.seterr
        sklearn.config_context sklearn.set_config struct._clearcache time.clock_settime time.clock_settime_ns
        time.pthread_getcpuclockid time.sleep time.tzset torch.manual_seed torch.seed torch.set_default_device
        torch.set_default_dtype torch.set_num_threads xgboost.config.config_context xgboost.config.set_config
        xgboost.set_config
    """,
    CALLS: """
        builtins.aiter builtins.anext builtins.filter builtins.iter builtins.map builtins.next copy._reconstruct
        functools._lru_cache_wrapper functools.cache functools.cmp_to_key functools.lru_cache
        functools.partialmethod functools.reduce itertools.accumulate itertools.dropwhile itertools.filterfalse
        itertools.groupby itertools.starmap itertools.takewhile numpy._core.numeric.fromfunction
        numpy.apply_along_axis numpy.apply_over_axes numpy.fromfunction numpy.fromiter
        numpy.lib._function_base_impl.piecewise numpy.lib._shape_base_impl.apply_along_axis
        numpy.lib._shape_base_impl.apply_over_axes numpy.lib.function_base.piecewise
        numpy.lib.shape_base.apply_along_axis numpy.lib.shape_base.apply_over_axes numpy.piecewise re.sub
        re.subn
    """,
    "its state unpickles and runs Python functions (cloudpickle) inside the bytes that are read by Rust": """
        polars.Expr polars.expr.expr.Expr polars.LazyFrame polars.lazyframe.frame.LazyFrame
    """,
    "its state can hold a formula, which is evaluated as Python code when it is unpickled or predicts": """
        patsy.design_info.DesignInfo patsy.eval.EvalEnvironment statsmodels.base.data.ModelData
        statsmodels.base.data.PandasData statsmodels.base.data.PatsyData
        statsmodels.formula.formulatools.handle_formula_data
    """,
    "it is another program in every process: move the class into a module that can be imported": "__main__",
    f"{REACHES}, unless args ties it to listed methods of listed classes": "builtins.getattr",
    "it calls the function that it is given, unless state lists methods by getattr": "numpy.vectorize",
    "it calls the function that it is given, unless args and state list the functions": """
        _functools.partial functools.partial
    """,
    f"{FILES} and unpickles what it finds there, unless state says that location is none": """
        joblib.Memory joblib.memory.Memory
    """,
}  # fmt: skip

# Packages that unpickle or spawn wherever they lie.
VENDORED: Final = frozenset({"cloudpickle", "cloudpickle_fast", "dill", "loky", "multiprocess"})

# Below one of these folders a package keeps copies of others: what follows is judged as if it stood alone.
COPIES: Final = frozenset(
    {"externals", "_externals", "external", "_external", "extern", "_vendor", "vendor", "_vendored", "vendored"}
)

# Modules of the standard library that were reviewed: apart from the names above they only compute.
HARMLESS_STDLIB: Final = """
        __future__ _abc _android_support _apple_support _bisect _blake2 _bz2 _codecs _codecs_cn _codecs_hk
        _codecs_iso2022 _codecs_jp _codecs_kr _codecs_tw _collections _collections_abc _colorize _datetime
        _decimal _functools _hashlib _heapq _hmac _ios_support _json _lzma _markupbase _md5 _multibytecodec
        _py_abc _py_warnings _pydatetime _pydecimal _pylong _random _sha1 _sha2 _sha256 _sha3 _sha512 _sre _stat
        _statistics _string _strptime _struct _suggestions _sysconfig _types _typing _uuid abc array base64
        binascii bisect builtins calendar cmath codecs collections colorsys copy copyreg dataclasses datetime
        decimal difflib enum errno fnmatch fractions functools graphlib hashlib heapq hmac html ipaddress
        itertools json keyword math numbers pprint quopri random re reprlib secrets shlex sre_compile
        sre_constants sre_parse stat statistics string stringprep struct textwrap time token types typing
        unicodedata uuid zlib
    """
