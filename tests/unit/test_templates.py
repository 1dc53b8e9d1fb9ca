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
        ("a\r\n{% if on %}b{% endif %}\r\n", "a\r\nb\r\n"),
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


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("one\ntwo {{ vfs }}\r\nend {% if on %}x{% endif %}\n", "one\ntwo 16\r\nend x\n"),
        ("a\rb{# c #}\r\n\n\rd", "a\rb\r\n\n\rd"),
        ("{% if on %}\r\na\n{% endif %}\rb\r", "a\nb\r"),
        ("{{ 'a\r\nb\nc' | upper }}\n", "A\r\nB\nC\n"),
        ("a\r\n \r\n{%- if on -%}\n\r\nb\r\n{% endif %}", "ab\r\n"),
        ("a{{ 1\r\n+ 1 }}\nb\r\n{% if on %}c{% endif %}\n", "a2\nb\r\nc\n"),
    ],
)
def test_line_ends_stay_as_they_are_written(text: str, result: str) -> None:
    assert render(text, PARAMETERS) == result


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("key = {% if on %}on{% endif %}\nnext = 3\n", "key = on\nnext = 3\n"),
        ("key = 1 {# why #}\nnext = 2", "key = 1 \nnext = 2"),
        ("  {% if on %}a{% endif %}\n", "  a\n"),
        ("  {% if on %}{{ vfs }}{% endif %}  \nx", "  16  \nx"),
        ("a\n\t{% if on %} {# two #} \n  b\n  {% endif %}", "a\n  b\n"),
        ("{% for n in nets %}\n  {{ n }}\n{% endfor %}\n\nend\n", "  a\n  b\n\nend\n"),
        ("a\n{#\n many\n lines #}\nb\n", "a\nb\n"),
        ("a\n{% raw %}\n{{ x }}\n{% endraw %}\nb", "a\n{{ x }}\nb"),
        ("a{% raw %}{% if %}{% endraw %}\nb", "a{% if %}\nb"),
        ("{% set x = '%}' %}\n{{ x }}\n", "%}\n"),
        ("a\n{%+ if on %}\nb{% endif %}", "a\n\nb"),
        ("a\n  {%- if on %}\nb{% endif %}\n", "a\nb\n"),
        ("  {% if on -%}\n  a\n  {%- endif %}\n", "a\n"),
    ],
)
def test_only_a_line_of_blocks_and_comments_is_left_out(text: str, result: str) -> None:
    assert render(text, PARAMETERS) == result


@settings(max_examples=100, deadline=None)
@given(st.text("ab \t\r\n", max_size=12), st.text("ab \t\r\n", max_size=12))
def test_all_around_a_block_is_kept_to_the_byte(before: str, after: str) -> None:
    assert render(f"{before}x{{% if on %}}y{{% endif %}}z{after}", PARAMETERS) == f"{before}xyz{after}"


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


@pytest.mark.parametrize(
    ("expression", "what", "hint"),
    [
        ("nets", "a list", "join"),
        ("[1, vfs]", "a list", "join"),
        ('nets | map("upper")', "a sequence", "join"),
        ("range(3)", "a sequence", "join"),
        ("nets.count", "a function", "call it"),
        ("{'a': 1}", "a table", "name its keys"),
        ("none", "nothing (none)", "or"),
        ("{}.get('x')", "nothing (none)", "or"),
        ("net.encode()", "an object of Python", None),
        ("cycler(1)", "an object of Python", None),
    ],
)
@pytest.mark.parametrize("end", ["", "{# comment #}"])
def test_what_is_no_text_is_not_put_into_one(expression: str, what: str, hint: str | None, end: str) -> None:
    with pytest.raises(UsageError) as caught:
        render(f"a\nb = {{{{ {expression} }}}}{end}\n", PARAMETERS)
    [problem] = caught.value.problems
    assert problem.message == f"line 2: {what} cannot stand inside a text"
    assert (hint or "") in (problem.hint or "")


@pytest.mark.parametrize(
    "expression",
    [
        "nets.count ~ ''",
        "nets | map('upper') | string",
        "[nets | map('upper')] | join",
        "'%s' % nets.count",
        "'{}'.format(joiner())",
        "nets.index | upper",
    ],
)
def test_no_address_in_memory_gets_into_a_text(expression: str) -> None:
    with pytest.raises(UsageError, match=r"changes with every run: <.*0[xX]"):
        render(f"{{{{ {expression} }}}}", PARAMETERS)


def test_a_text_that_has_an_address_itself_is_rendered() -> None:
    text = "<bug at 0x7fffdeadbeef> {{ said }}{# comment #}"
    assert render(text, {"said": "<b at 0x7f12>"}) == "<bug at 0x7fffdeadbeef> <b at 0x7f12>"
    assert render("{{ said | upper }}", {"said": "<b at 0x7f12>"}) == "<B AT 0X7F12>"


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
