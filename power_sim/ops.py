"""The few operations that numbers and arrays spell differently, so that one text of the physics serves one craft and
a batch.

A function of the physics takes an ``Ops`` first and writes ``ops.minimum(a, b)`` for the smaller. ``VECTOR`` is
numpy. For a single
craft, ``on_numbers`` compiles the same text with each operation written out as a comparison, which Python does
several times
faster than a call; ``SCALAR`` is the plain form of the same.
"""

from __future__ import annotations

import ast
import functools
import inspect
import math
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import numpy as np

Value = Any
"""A float, or a float array of one entry per copy."""
P = ParamSpec("P")
R = TypeVar("R")
_WHOLE = 2.0**52


@dataclass(frozen=True, slots=True)
class Ops:
    """Arithmetic on numbers or on arrays."""

    minimum: Callable[[Value, Value], Value]
    maximum: Callable[[Value, Value], Value]
    where: Callable[[Value, Value, Value], Value]
    floor: Callable[[Value], Value]


def floor_number(value: float) -> float:
    """Return the whole number below; what is too large to have a fraction, infinity included, stays.

    >>> floor_number(2.7), floor_number(-0.5), floor_number(math.inf)
    (2.0, -1.0, inf)
    """
    return float(math.floor(value)) if -_WHOLE < value < _WHOLE else value


SCALAR = Ops(min, max, lambda condition, yes, no: yes if condition else no, floor_number)
VECTOR = Ops(np.minimum, np.maximum, np.where, np.floor)


def on_numbers(function: Callable[Concatenate[Ops, P], R]) -> Callable[P, R]:
    """Return ``function`` for plain numbers, to be called without its first argument ``ops``.

    Where the source text is not at hand (a frozen application) it is the same function with ``SCALAR``: equal
    results, slower.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError):
        return cast(Callable[P, R], functools.partial(function, SCALAR))
    definition = cast(ast.FunctionDef, tree.body[0])
    definition.args.args.pop(0)
    definition.decorator_list = []
    ast.increment_lineno(tree, function.__code__.co_firstlineno - 1)
    inlined = ast.fix_missing_locations(_Inline().visit(tree))
    space = {**function.__globals__, "ops": SCALAR, "_floor_number": floor_number}
    exec(compile(inlined, function.__code__.co_filename, "exec"), space)  # our own source text, nothing from outside
    return cast(Callable[P, R], space[function.__name__])


class _Inline(ast.NodeTransformer):
    """Writes each ``ops.NAME(...)`` out: the smaller of a and b becomes ``a if a < b else b``."""

    def __init__(self) -> None:
        self._count = 0

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        name = node.func
        if not (isinstance(name, ast.Attribute) and isinstance(name.value, ast.Name) and name.value.id == "ops"):
            return node
        if name.attr == "where":
            return ast.copy_location(ast.IfExp(node.args[0], node.args[1], node.args[2]), node)
        if name.attr == "floor":
            return ast.copy_location(ast.Call(ast.Name("_floor_number", ast.Load()), node.args, []), node)
        (first_set, first), (second_set, second) = self._once(node.args[0]), self._once(node.args[1])
        order = ast.LtE() if name.attr == "minimum" else ast.GtE()
        return ast.copy_location(ast.IfExp(ast.Compare(first_set, [order], [second_set]), first, second), node)

    def _once(self, value: ast.expr) -> tuple[ast.expr, ast.expr]:
        """Return an expression to compute ``value`` where it first stands, and one to read it again."""
        if isinstance(value, (ast.Name, ast.Constant)):
            return value, value
        name = f"_value{self._count}"
        self._count += 1
        return ast.NamedExpr(ast.Name(name, ast.Store()), value), ast.Name(name, ast.Load())
