"""The site: how Sphinx builds it from this folder (`python -m sphinx -W examples site`)."""

import os
import sys
from pathlib import Path

# For the pages and scripts that are run: small, and compiled in half the time without optimization.
os.environ.pop("MPLBACKEND", None)  # notebooks have their own
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
if not globals()["tags"].has("full"):  # what Sphinx gives this file
    flags = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    os.environ.setdefault("XLA_FLAGS", flags)
sys.path.insert(0, str(Path(__file__).parent / "_site"))

import lstmgrad

project = "lstmgrad"
author = "the authors of lstmgrad"
release = version = lstmgrad.__version__
html_title = "lstmgrad"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "mathematics",
    "names",
    "scripts",
]
exclude_patterns = ["figures", "_site"]
smartquotes = False  # h' is a prime
nitpicky = True
# What other packages call their types has no page here, nor have private classes of our own.
nitpick_ignore_regex = [
    ("py:(class|obj|func|mod|exc|data|meth|attr)", r"(?!lstmgrad\.).*"),
    ("py:class", r"lstmgrad\._.*"),
]

# Text: MyST Markdown, whose code cells are run in the build.
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_in_temp = True
nb_execution_timeout = 1200  # a cell, on a busy machine
nb_execution_raise_on_error = True
nb_output_stderr = "remove"
suppress_warnings = ["myst-nb.lexer"]  # where cells are not run

# The reference, from docstrings.
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_custom_sections = [("References", "notes"), ("Cost", "notes")]

# The look.
html_theme = "furo"
html_static_path = ["_site/static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
pygments_style = "friendly"
