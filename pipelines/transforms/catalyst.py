"""Spark's own expressions from Python: what `pyspark.sql.functions` has no name for.

Source: org.apache.spark.sql.classic.ExpressionUtils, which a session of this process has and a
Spark Connect client has not.
"""

from collections.abc import Iterator
from typing import Any

from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.classic.column import Column as ClassicColumn

_EXPRESSIONS = "org.apache.spark.sql.catalyst.expressions"


def parse(condition: str) -> Any:
    """The Catalyst expression of a condition, not resolved against any columns.

    Raises:
        ParseException: it isn't Spark SQL.
    """
    session: Any = SparkSession.active()
    return session._jsparkSession.sessionState().sqlParser().parseExpression(condition)


def nodes(tree: Any) -> Iterator[Any]:
    """A Catalyst expression and all below it, a parent before its children."""
    yield tree
    children = tree.children()
    for place in range(children.size()):
        yield from nodes(children.apply(place))


def kind(node: Any) -> str:
    """The name of a node's class, without its package."""
    return str(node.getClass().getSimpleName())


def is_a(node: Any, ancestor: str) -> bool:
    """Whether a node's class extends a class of Catalyst's expressions."""
    return bool(_class(f"{_EXPRESSIONS}.{ancestor}").isInstance(node))


def is_implicit(cast: Any) -> bool:
    """Whether Spark put a Cast there, and not who wrote the expression."""
    tag = _jvm().org.apache.spark.sql.catalyst.expressions.Cast.USER_SPECIFIED_CAST()
    return not cast.getTagValue(tag).isDefined()


def is_foldable(node: Any) -> bool:
    """Whether a node's value is the same for every row."""
    return bool(node.foldable())


def value_of(node: Any) -> str | None:
    """The value of a foldable node, as text."""
    value = node.eval(None)
    return None if value is None else str(value.toString() if hasattr(value, "toString") else value)


def replaced(plan: Any) -> Any:
    """An analysed plan whose expressions are those that are evaluated: `nvl` is `coalesce`."""
    return _jvm().org.apache.spark.sql.catalyst.optimizer.ReplaceExpressions.apply(plan)


def condition_of(expression: Any) -> Column:
    """A Catalyst expression as a column."""
    return _column(expression)


def integer_or(column: Column, instead: Column, *, guard: Column) -> Column:
    """The column's value; in a row for which its evaluation raises, another one.

    Args:
        column: an integer that is never null.
        instead: evaluated in such rows alone.
        guard: true in every row, which Spark must not be able to prove.
    """
    # Three rules of Spark's optimizer don't know that TryEval catches errors:
    # - an expression that occurs twice is evaluated ahead of the projection, unless it stands
    #   behind a condition (the guard);
    # - a CASE as its argument takes TryEval into its branches, and its conditions go without
    #   (the inner coalesce);
    # - to be null is asked of its argument (so that it's never asked).
    guarded = F.coalesce(F.when(guard, column), F.lit(0))
    expressions = _jvm().org.apache.spark.sql.catalyst.expressions
    return F.coalesce(_column(expressions.TryEval(_expression(guarded))), instead)


def composed(text: Column) -> Column:
    """Text in Unicode's normal form C, by java.text.Normalizer."""
    jvm = _jvm()
    objects = jvm.org.apache.spark.sql.catalyst.expressions.objects
    types = jvm.org.apache.spark.sql.types
    java_text = types.ObjectType(_class("java.lang.String"))
    form = jvm.org.apache.spark.sql.catalyst.expressions.Literal.fromObject(
        jvm.java.text.Normalizer.Form.NFC
    )
    as_java = objects.Invoke(
        _expression(text), "toString", java_text, _seq(), _seq(), True, True, True
    )
    normal = _static("java.text.Normalizer", java_text, "normalize", as_java, form)
    spark_text = getattr(getattr(types, "StringType$"), "MODULE$")
    return _column(
        _static("org.apache.spark.unsafe.types.UTF8String", spark_text, "fromString", normal)
    )


def _static(owner: str, returns: Any, method: str, *arguments: Any) -> Any:
    """A call of a Java static method that has one result for one input, and null for null."""
    objects = _jvm().org.apache.spark.sql.catalyst.expressions.objects
    no_name = _jvm().scala.Option.empty()
    return objects.StaticInvoke(
        _class(owner), returns, method, _seq(*arguments), _seq(), True, True, True, no_name
    )


def _expression(column: Column) -> Any:
    inner: Any = column
    return _jvm().org.apache.spark.sql.classic.ExpressionUtils.expression(inner._jc)


def _column(expression: Any) -> Column:
    return ClassicColumn(_jvm().org.apache.spark.sql.classic.ExpressionUtils.column(expression))


def _class(name: str) -> Any:
    return _jvm().java.lang.Class.forName(name)


def _seq(*items: Any) -> Any:
    return _jvm().org.apache.spark.api.python.PythonUtils.toSeq(list(items))


def _jvm() -> Any:
    return SparkSession.active()._jvm
