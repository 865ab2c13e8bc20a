"""Chat templates do what they do in transformers, and nothing that a stranger's code could abuse."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from nearfar.errors import ModelLoadError, UnsupportedInputError
from nearfar.llm.local.templates import CHATML, ChatTemplate, load_template

USER = {"role": "user", "content": "hi"}


def render(source: str, messages: list[dict[str, Any]] | None = None, **options: Any) -> str:
    return ChatTemplate({"default": source}).render(messages or [USER], **options)


def test_blocks_leave_no_line_breaks_behind() -> None:
    source = "  {% if messages %}\n  {{ messages[0].content }}!\n  {% endif %}\nend"
    assert render(source) == "  hi!\nend"


def test_tojson_keeps_unicode_and_html() -> None:
    assert render("{{ {'a': '<é>&\\'\"'} | tojson }}") == '{"a": "<é>&\'\\""}'
    assert render("{{ {'b': 1, 'a': 2} | tojson(indent=2, sort_keys=true) }}") == (
        '{\n  "a": 2,\n  "b": 1\n}'
    )


def test_the_date_comes_from_the_clock() -> None:
    template = ChatTemplate(
        {"default": "{{ strftime_now('%d %b %Y') }}"}, clock=lambda: datetime(2026, 3, 1)
    )
    assert template.render([USER]) == "01 Mar 2026"


def test_loop_controls_and_generation_blocks() -> None:
    source = "{% for i in range(5) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}"
    assert render(source) == "01"
    assert render("a{% generation %}b{{ messages[0].content }}{% endgeneration %}c") == "abhic"


def test_what_a_template_raises_is_told_with_its_own_words() -> None:
    source = "{{ raise_exception('System role not supported') }}"
    with pytest.raises(UnsupportedInputError, match="System role not supported") as caught:
        render(source)
    assert caught.value.data == {"type": "conversation"}


def test_a_failing_template_tells_nothing_of_the_messages() -> None:
    with pytest.raises(UnsupportedInputError) as caught:
        render(
            "{{ messages[0]['content'].missing.deeper }}", [{"role": "user", "content": "secret"}]
        )
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    "attack",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{% for i in range(10**9) %}{% endfor %}",
    ],
)
def test_templates_run_in_a_sandbox(attack: str) -> None:
    with pytest.raises(UnsupportedInputError):
        render(attack)


ALTERNATING = """\
{% for m in messages %}
{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('must alternate') }}{% endif %}
[{{ m.role }}]{{ m.content }}
{% endfor %}"""


def test_messages_of_one_role_are_joined_where_roles_must_alternate() -> None:
    said = render(ALTERNATING, [USER, {"role": "user", "content": "there"}])
    assert said == "[user]hi\n\nthere\n"


def test_roles_that_cannot_be_made_to_alternate_are_refused() -> None:
    with pytest.raises(UnsupportedInputError, match="must alternate"):
        render(ALTERNATING, [{"role": "system", "content": "be brief"}, USER])


def test_a_template_that_adds_texts_gets_arguments_as_text() -> None:
    call = {"function": {"name": "f", "arguments": {"a": "é"}}}
    messages = [{"role": "assistant", "content": "", "tool_calls": [call]}]
    source = "{{ '>' + messages[0].tool_calls[0].function.arguments }}"
    assert render(source, messages) == '>{"a": "é"}'


def write(folder: Path, **files: Any) -> Path:
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "files",
    [
        {
            "chat_template__jinja": "{{ bos_token }}T",
            "tokenizer_config__json": {"bos_token": "<s>"},
        },
        {"tokenizer_config__json": {"bos_token": {"content": "<s>"}, "chat_template": "<s>T"}},
        {"chat_template__json": {"chat_template": "<s>T"}},
    ],
)
def test_a_template_is_found_where_models_keep_it(tmp_path: Path, files: dict[str, Any]) -> None:
    assert load_template(write(tmp_path, **files), {}).render([USER]) == "<s>T"


def test_a_variant_for_tools_is_used_with_tools(tmp_path: Path) -> None:
    variants = [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "{{tools}}"}]
    template = load_template(
        write(tmp_path, tokenizer_config__json={"chat_template": variants}), {}
    )
    assert template.render([USER]) == "D"
    assert "name" in template.render([USER], tools=[{"name": "t"}])


def test_chatml_is_only_assumed_where_the_tokenizer_has_its_tokens(tmp_path: Path) -> None:
    found = load_template(tmp_path, {"<|im_start|>": 1, "<|im_end|>": 2})
    assert found.sources == {"default": CHATML}
    assert found.render([USER]) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    with pytest.raises(ModelLoadError, match="no chat template"):
        load_template(tmp_path, {"<|im_start|>": 1})


def test_a_template_that_cannot_be_compiled_is_a_load_error(tmp_path: Path) -> None:
    template = load_template(write(tmp_path, chat_template__jinja="{% if %}"), {})
    with pytest.raises(ModelLoadError, match="cannot be compiled"):
        template.render([USER])


def test_a_broken_tokenizer_config_is_a_load_error(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="is not JSON"):
        load_template(write(tmp_path, tokenizer_config__json="{"), {})
