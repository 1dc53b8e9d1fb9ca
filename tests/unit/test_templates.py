"""Templates: the quick way and Jinja's give the same."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import UsageError
from pipeline.templates import Fault, read, render

PARAMETERS = {"vfs": 16, "net": "ib0", "on": True, "ratio": 1.5, "nets": ("a", "b")}

PIECES = st.sampled_from(
    [
        "{{ vfs }}",
        "{{net}}",
        "{{  on}}",
        "{{ ratio }}",
        "{{ '{{' }}",
        '{{"{{"}}',
        "}}",
        "{ ",
        "}",
        "%}",
        "x\n",
        "\r\n",
        "é",
        "\n",
    ]
)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("", ""),
        ("plain\n", "plain\n"),
        ("num_vfs={{ vfs }}\nnet = {{net}}\n\n", "num_vfs=16\nnet = ib0\n\n"),
        ("{{ on }} {{ ratio }}", "true 1.5"),
        ("{% if on %}\n{{ on }}\n{% endif %}\nend\n", "true\nend\n"),
        ("  {# gone #}\n{{ vfs + 1 }}", "17"),
        ("{{ nets | join(',') }}", "a,b"),
        ("{% for n in range(2) %}{{ n }}{{ net }};{% endfor %}", "0ib0;1ib0;"),
        ("{{ '{{' }} x }}", "{{ x }}"),
        ("a\r\n{% if on %}b{% endif %}\r\n", "a\r\nb"),
    ],
)
def test_a_template_is_rendered(text: str, result: str) -> None:
    assert render(text, PARAMETERS) == result


@settings(max_examples=100, deadline=None)
@given(st.lists(PIECES).map("".join))
def test_the_quick_way_gives_what_jinja_gives(text: str) -> None:
    jinja = jinja2.Environment(
        keep_trailing_newline=True,
        newline_sequence="\r\n" if "\r\n" in text else "\n",
        finalize=lambda value: {True: "true"}.get(value, value) if isinstance(value, bool) else value,
    )
    expected = jinja.from_string(text).render(PARAMETERS)
    if "\r\n" in text:
        text, expected = text.replace("\r\n", "\n"), expected.replace("\r\n", "\n")
    assert render(text, PARAMETERS) == expected


def test_everything_undefined_is_told_with_its_line_and_the_nearest_name() -> None:
    with pytest.raises(UsageError) as caught:
        render("{{ vfs }}\n{{ vsf }}\n{{ zzzzz }}\n", PARAMETERS)
    assert str(caught.value).splitlines() == [
        'line 2: undefined parameter "vsf" (did you mean "vfs"?)',
        'line 3: undefined parameter "zzzzz"',
    ]


def test_names_are_read_with_the_line_of_their_first_use() -> None:
    assert read("a\n{{ b }} {{ c }}\n{{ b }}").names == {"b": 2, "c": 2}
    assert read("{% set a = 1 %}{{ a }}\n{% for x in b %}\n{{ x }}{{ c.d }}\n{% endfor %}").names == {
        "b": 2,
        "c": 3,
    }


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("\n{% if %}", Fault(2, "Expected an expression, got 'end of statement block'")),
        ("{{ a | nothing }}", Fault(1, "No filter named 'nothing'.")),
        ("{{ a | random }}", Fault(1, "No filter named 'random'.")),
        (
            "{% import 'x' as y %}",
            Fault(1, "a template stands alone: it cannot include, import or extend others"),
        ),
    ],
)
def test_what_jinja_refuses_is_told_with_its_line(text: str, fault: Fault) -> None:
    assert read(text).faults == (fault,)


@pytest.mark.parametrize("text", ["{{ nets }}", "{{ nets }}{# comment #}"])
def test_a_list_is_not_put_into_a_text_just_so(text: str) -> None:
    with pytest.raises(UsageError, match="a list cannot stand inside a text") as caught:
        render(text, PARAMETERS)
    assert "join" in (caught.value.problems[0].hint or "")


def test_a_template_that_fails_while_it_is_rendered_is_no_traceback() -> None:
    with pytest.raises(UsageError, match="the template cannot be rendered: "):
        render("{{ vfs / 0 }}", PARAMETERS)
    with pytest.raises(UsageError, match="the template cannot be rendered: "):
        render("{{ net.nothing.more }}", PARAMETERS)


def test_a_template_cannot_reach_this_program(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    reach = "cycler.__init__.__globals__.os.system('touch " + str(proof) + "')"
    with pytest.raises(UsageError, match=r"line 2: the template cannot be rendered: .*__init__.* unsafe"):
        render(f"x\n{{{{ {reach} }}}}\n", PARAMETERS)
    assert not proof.exists()


@pytest.mark.parametrize(
    "text",
    [
        "{% for n in range(10000000) %}{% endfor %}",
        "{{ ('x' * 1000000000000000) | length }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
    ],
)
def test_a_template_that_wants_too_much_is_told_with_its_line(text: str) -> None:
    with pytest.raises(UsageError, match=r"line 1: the template cannot be rendered: .+"):
        render(text, PARAMETERS)
