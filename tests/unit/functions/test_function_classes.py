"""Functions that are classes: how they are declared, opened and closed. What they give stands in sql/function_classes.slt."""

from __future__ import annotations

import atexit
from typing import Any

import pytest

from sqlstream import ScalarFunction, TableFunction, udf, udtf
from sqlstream.errors import BindError, DataError
from sqlstream.functions.classes import FunctionContext, opened
from sqlstream.functions.user import is_table_function, resolve
from sqlstream.session import Session

HARNESS = "harness.function_classes"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Lacks", "has no result_types"),
        ("NeedsMore", r"its class cannot be called: TypeError: .*factor"),
        ("ScalarFunction", "is a class without a method eval"),
    ],
)
def test_a_mistake_is_told_when_it_is_created(name: str, message: str) -> None:
    with pytest.raises(BindError, match=message):
        list(Session().execute(f"CREATE FUNCTION f AS '{HARNESS}.{name}' LANGUAGE PYTHON"))


def test_they_are_deterministic_unless_they_say_otherwise() -> None:
    assert resolve(f"{HARNESS}.hash_code").deterministic
    assert not resolve(f"{HARNESS}.Dice").deterministic
    assert not resolve(f"{__name__}.declared").deterministic
    assert resolve(f"{__name__}.overruled").deterministic


class Plain(ScalarFunction):
    def eval(self, n: int) -> int:
        return n


class Uncertain(Plain):
    def is_deterministic(self) -> bool:
        return False


declared = udf(Plain(), deterministic=False)
overruled = udf(Uncertain(), deterministic=True)


def test_objects_and_classes_are_marked_in_any_form() -> None:
    @udtf(result_types="INT")
    class Rows(TableFunction):
        def eval(self, n: int) -> Any:
            yield n

    made: Any = udtf(Rows(), result_types=["INT", "INT"], input_types="INT")
    assert made.result_types == ("INT", "INT") and made.input_types == ("INT",)
    assert vars(Rows)["result_types"] == "INT"
    assert is_table_function(f"{HARNESS}.Split") and not is_table_function(f"{HARNESS}.hash_code")
    with pytest.raises(BindError, match="udtf needs result_types"):
        udtf(Rows())


def test_it_is_opened_once_and_closed_when_the_process_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[Any] = []
    monkeypatch.setattr(atexit, "register", lambda f, *args: ends.append((f, args)))

    class Told:
        said: list[str] = []

        def open(self, context: FunctionContext) -> None:
            self.said.append(f"opened, {context.get_job_parameter('x', 'nothing')}")

        def close(self) -> None:
            self.said.append("closed")
            raise ValueError("too late to be told")

    made = opened(Told(), "f")
    ((end, args),) = ends
    end(*args)
    assert made.said == ["opened, nothing", "closed"]
    with pytest.raises(DataError, match="f, open: OSError: no"):
        opened(Broken(), "f")


class Broken:
    def open(self, context: FunctionContext) -> None:
        raise OSError("no")
