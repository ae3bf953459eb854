"""Names in the text lead to the reference: `lg.horizon(profile)` is a link to `lstmgrad.horizon`.

In guides every inline literal that begins with `lg.` has to name something that the reference
lists, and the bare name of a result, `NormProfile`, is a link, too. In docstrings, whose backticks
are Markdown's, a name leads there where it is a public one.
"""

import importlib
import inspect
import re
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform

import lstmgrad

PUBLIC = re.compile(r"lg((?:\.(?!X\b)[a-zA-Z]\w*)+)")
RESULTS = {name for name in lstmgrad.__all__ if name[0].isupper()}
FENCE = re.compile(r"^( *)```\w*$")
CODE = re.compile(r"(``.+?``|(?<!`)`[^`]+`)")
PRIVATE = re.compile(r"\b(?:jax\.)?jaxlib\._jax\.(?=Array)")
MODULES = ("cells", "diagnosis", "interop", "plot", "report", "tasks", "theory", "training")


class Names(SphinxTransform):
    """Makes links of the literals that begin with `lg.`, and of the names of results."""

    default_priority = 200

    def apply(self, **kwargs: Any) -> None:
        """Wraps each literal in a reference that Sphinx resolves, and complains of if it cannot."""
        for literal in list(self.document.findall(nodes.literal)):
            text = literal.astext()
            found = PUBLIC.match(f"lg.{text}" if text in RESULTS else text)
            if found and not isinstance(literal.parent, (nodes.reference, addnodes.pending_xref)):
                module = found[1][1:] in MODULES
                reference = addnodes.pending_xref(
                    "",
                    refdomain="py",
                    reftype="mod" if module else "obj",
                    reftarget=listed(found[1][1:]),
                    refexplicit=True,
                    refwarn=True,
                    refdoc=self.env.docname,
                )
                literal.replace_self(reference)
                reference += literal


class Types(SphinxPostTransform):
    """Writes `Array` for the private name of JAX's class in the types of arguments."""

    default_priority = 200

    def run(self, **kwargs: Any) -> None:
        """Changes the texts in place."""
        for text in list(self.document.findall(nodes.Text)):
            if PRIVATE.search(text):
                text.parent.replace(text, nodes.Text(PRIVATE.sub("", text)))


def listed(dotted: str) -> str:
    """The name under which the reference has `dotted`: for an attribute that of its class."""
    owner, names = lstmgrad, dotted.split(".")
    for count, name in enumerate(names):
        if inspect.isclass(owner) and hasattr(owner, name):
            if not inspect.isroutine(getattr(owner, name)):
                names = names[:count]
            break
        owner = getattr(owner, name, None)
    return ".".join(["lstmgrad", *names])


def public_name(text: str, module: str) -> str | None:
    """The full name of what a docstring of `module` calls `text`, where it is public."""
    dotted = re.sub(r"^(lg|lstmgrad)\.", "", text.partition("(")[0])
    if not re.fullmatch(r"[A-Za-z]\w*(\.[A-Za-z]\w*)*", dotted):
        return None
    own = module.split(".")[1:2]  # lstmgrad.plot._norms: names of lg.plot come first
    for room in [*(name for name in own if name in MODULES), ""]:
        names = f"{room}.{dotted}".strip(".").split(".")
        owner = lstmgrad
        if names[0] in MODULES and len(names) > 1:
            owner = importlib.import_module(f"lstmgrad.{names[0]}")
        names = names[1:] if owner is not lstmgrad else names
        listed = getattr(owner, "__all__", None) or [name for name in dir(owner) if name[0] != "_"]
        found = getattr(owner, names[0], None) if names[0] in listed else None
        if found is None or (inspect.ismodule(found) and len(names) > 1) or len(names) > 2:
            continue
        if len(names) == 2 and not inspect.isroutine(vars(found).get(names[1])):
            continue
        return ".".join([owner.__name__, *names])
    return None


def as_rst(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Turns the Markdown of a docstring, backticks and fences, into what Sphinx reads."""
    module = getattr(obj, "__module__", None) or name.rpartition(".")[0]
    text, inside = [], False
    for line in lines:
        fence = FENCE.match(line)
        if fence:
            text += [""] if inside else [f"{fence[1]}.. code-block:: python", ""]
            inside = not inside
        elif inside:
            text.append(f"    {line}" if line else line)
        elif line.lstrip().startswith((">>>", "...")):
            text.append(line)
        else:
            text.append("".join(piece(part, module, name) for part in CODE.split(line)))
    lines[:] = text


def piece(part: str, module: str, name: str) -> str:
    """One piece of a line: a literal, a reference, or words whose stars and bars are no markup."""
    if part.startswith("``"):
        return part
    if part.startswith("`"):
        target = public_name(part[1:-1], module)
        if target is None or target == name:
            return f"`{part}`"
        kind = "mod" if target.rpartition(".")[2] in MODULES else "obj"
        return f":py:{kind}:`{part[1:-1]} <{target}>`"
    return re.sub(r"([*|])", r"\\\1", part)


def types(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Keeps the stars in the types of fields, `Float[Array, '*batch m']`, as they are."""
    lines[:] = [
        line.replace("*", r"\*") if line.lstrip().startswith(":vartype") else line for line in lines
    ]


def setup(app: Sphinx) -> dict[str, Any]:
    """Adds all of it to the build."""
    app.add_transform(Names)
    app.add_post_transform(Types)
    app.connect("autodoc-process-docstring", as_rst, priority=100)
    app.connect("autodoc-process-docstring", types, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
