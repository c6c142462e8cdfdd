"""The compiled modules: which, with which flags, and the debug switch (SP_DEBUG=1)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

ROOT = Path(__file__).parent
if not (ROOT / "shardproxy" / "supervisor" / "__init__.py").exists():
    sys.exit("shardproxy/supervisor is no link to ../supervisor; repair: ln -sfn ../supervisor shardproxy/supervisor")

IS_DEBUG = os.environ.get("SP_DEBUG", "0") == "1"
ONLY = os.environ.get("SP_ONLY", "")  # one room while working on it, such as SP_ONLY=shm
# SP_BENCH=1 compiles what drives the benchmarks in their place, with the same flags; it is no part of the package.
PLACE = "loadtests" if os.environ.get("SP_BENCH", "0") == "1" else "shardproxy"

extensions = [
    Extension(
        ".".join(source.with_suffix("").parts),
        [str(source)],
        define_macros=[("SP_DEBUG", "1" if IS_DEBUG else "0")],
        extra_compile_args=[
            "-O1" if IS_DEBUG else "-O3", "-fno-semantic-interposition", "-fvisibility=hidden", "-Wno-unused-function"
        ],
    )
    for source in sorted(path.relative_to(ROOT) for path in ROOT.glob(f"{PLACE}/**/*.pyx"))
    if not ONLY or source.parts[1] in ONLY.split(",")
]

setup(
    options={"build_ext": {"parallel": os.cpu_count() or 1}},
    ext_modules=cythonize(
        extensions,
        nthreads=os.cpu_count() or 1,
        compiler_directives={
            "language_level": "3",
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "embedsignature": True,
            "nonecheck": IS_DEBUG,
            "unraisable_tracebacks": False,  # observe/unraisable.py logs them, on one line
        },
    )
)
