"""Python functions whose body stands in SQL: CREATE FUNCTION f(x INT) RETURNS STRING LANGUAGE PYTHON AS $$ … $$.

The body of an aggregate function defines those of its methods, or a class that has them.

Plans know a Python function by its path. The path of such a function is all of it, as JSON, so that a plan needs nothing else
to call it, and another body is another function. It is compiled once in a process.
"""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
import json
import keyword
import linecache
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from types import CodeType, SimpleNamespace
from typing import Any, cast

from sqlstream.errors import BindError

FILE = "<body of "  # begins the name of the file that a body is to Python


@dataclass(frozen=True)
class Inline:
    """A function as it is declared. Types are SQL text; `body` is what stands between $$ and $$."""

    name: str
    parameters: tuple[tuple[str, str], ...]
    returns: str
    body: str

    @property
    def path(self) -> str:
        """The path by which it is called."""
        return json.dumps([self.name, self.parameters, self.returns, self.body], ensure_ascii=False)


def is_inline(path: str) -> bool:
    """Whether this is the path of such a function."""
    return path.startswith("[")


@functools.cache
def inline(path: str) -> Inline:
    """The function at the path."""
    name, parameters, returns, body = json.loads(path)
    return Inline(name, tuple((n, t) for n, t in parameters), returns, body)


@functools.cache
def compiled(path: str) -> Callable[..., Any]:
    """The function, made and typed as one of a module is. BindError says what is wrong with it."""
    f = inline(path)
    what = f"function {f.name}"
    _check_parameters(f, what)
    text = _dedented(f.body)
    file = f"{FILE}{f.name} {sha256(path.encode()).hexdigest()[:16]}>"
    try:
        body = ast.parse(text, file).body
        if _defines_aggregate(body):
            return cast(Callable[..., Any], _aggregate(f, what, compile(text, file, "exec", dont_inherit=True), text))
        returned = [r for r in _own(body) if isinstance(r, ast.Return)]
        if not returned:
            raise BindError(
                f"{what}: its body returns nothing", hint=f"AS $$ return {' '.join(text.split())[:60] or 'NULL'} $$"
            )
        (made,) = ast.parse(f"def {f.name if f.name.isidentifier() else 'f'}(): pass").body
        assert isinstance(made, ast.FunctionDef)
        made.args.args = [ast.arg(n, lineno=1, col_offset=0) for n, _ in f.parameters]
        made.body = body
        code = compile(ast.Module([made], []), file, "exec", dont_inherit=True)
    except SyntaxError as e:
        lines = text.split("\n")[(e.lineno or 0) - 1 : e.lineno]
        line = f" (line {e.lineno} of its body: {lines[0].strip()})" if e.lineno and lines else ""
        raise BindError(f"{what}: {e.msg}{line}", hint=_hint(e, text)) from None
    except (ValueError, RecursionError, MemoryError) as e:
        raise BindError(f"{what}: its body cannot be compiled: {e or type(e).__name__}") from None
    space: dict[str, Any] = {"__builtins__": builtins, "__name__": f"{FILE}{f.name}>"}
    exec(code, space)
    function: Any = space[made.name]
    if inspect.isgeneratorfunction(function):
        raise BindError(
            f"{what}: a body gives one value, and this one yields",
            hint="a table function stands in a module, and is declared by sqlstream.udtf",
        )
    function.input_types, function.result_type = tuple(t for _, t in f.parameters), f.returns
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)  # tracebacks show lines of it
    return cast(Callable[..., Any], function)


def _defines_aggregate(body: list[ast.stmt]) -> bool:
    """Whether it is the body of an aggregate function: its methods as functions, or a class that has them."""
    parts = [d for s in body for d in (s.body if isinstance(s, ast.ClassDef) else [s])]
    return any(isinstance(d, ast.FunctionDef) and d.name == "accumulate" for d in parts)


def _aggregate(f: Inline, what: str, code: CodeType, text: str) -> Any:
    """What `functions.user_aggregates` takes: a class, or an object with the functions as its methods."""
    space: dict[str, Any] = {"__builtins__": builtins, "__name__": f"{FILE}{f.name}>"}
    linecache.cache[code.co_filename] = (len(text), None, text.splitlines(keepends=True), code.co_filename)
    try:
        exec(code, space)
    except Exception as e:  # what stands beside the functions is the user's
        raise BindError(f"{what}: its body raised {type(e).__name__}: {e}") from e
    made: Any = next(
        (v for v in space.values() if isinstance(v, type) and callable(getattr(v, "accumulate", None))), None
    )
    if made is None:
        made = SimpleNamespace(**{k: v for k, v in space.items() if not k.startswith("__")})
    made.input_types, made.result_type = tuple(t for _, t in f.parameters), f.returns
    return made


def _check_parameters(f: Inline, what: str) -> None:
    names = [n for n, _ in f.parameters]
    for i, n in enumerate(names):
        if not n.isidentifier() or keyword.iskeyword(n):
            raise BindError(f"{what}: '{n}' is no name of an argument in Python", hint="letters, digits and _")
        if n in names[:i]:
            raise BindError(f"{what}: two arguments are called '{n}'")


def _dedented(body: str) -> str:
    """The lines of a body from its first that is not empty, without the space that they begin with in SQL."""
    lines = body.replace("\r\n", "\n").rstrip().split("\n")
    if lines[0].strip():  # it begins beside the $$
        rest = textwrap.dedent("\n".join(lines[1:]))
        return lines[0].strip() + ("\n" + rest if rest else "") + "\n"
    while len(lines) > 1 and not lines[0].strip():
        lines = lines[1:]
    return textwrap.dedent("\n".join(lines)) + "\n"


def _own(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """The nodes of a function's body without those of functions and classes within."""
    ways: list[ast.AST] = list(body)
    while ways:
        node = ways.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            ways += ast.iter_child_nodes(node)


def _hint(e: SyntaxError, text: str) -> str | None:
    if isinstance(e, IndentationError) and "\n" in text.rstrip():
        return "begin the body in a line of its own, below AS $$"
    return None
