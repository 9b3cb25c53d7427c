"""Spark's own expressions from Python: what `pyspark.sql.functions` has no name for.

Source: org.apache.spark.sql.classic.ExpressionUtils, which a session of this process has and a
Spark Connect client has not.
"""

from collections.abc import Iterator
from typing import Any

from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.classic.column import Column as ClassicColumn


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


def null_where_it_fails(column: Column, *, guard: Column) -> Column:
    """The column's value; null in a row for which its evaluation raises.

    Args:
        column: any expression.
        guard: true in every row, which Spark must not be able to prove. Spark evaluates an
            expression that occurs twice ahead of the whole projection, outside of what catches
            its errors; it doesn't do so with what stands behind a condition.
    """
    expressions = _jvm().org.apache.spark.sql.catalyst.expressions
    return _column(expressions.TryEval(_expression(F.when(guard, column))))


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
