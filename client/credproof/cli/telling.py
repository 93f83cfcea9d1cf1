"""What the borrower's commands say, in Chinese and English, and the option that chooses."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from credproof.base.errors import Malformed
from credproof.cli.output import out, plain

WORDS: Final = {
    "en": {
        "key": "Your key:  {kid}",
        "proof": "Proof:  {file} (give it to {provider})",
        "service": "Service:  {domain}",
        "agree": "Do you agree?",
        "consent": "Consent:  {file}",
        "paused": "Paused, log entry {index}.",
        "resumed": "Resumed, log entry {index}.",
        "revoked": "Revoked, log entry {index}.",
        "answer": "an answer about you",
        "verdicts": "what the questions about you came to",
        "document": "a consent of yours",
        "unsealed": "{when}  {auditor}: {what}",
        "entries": "    log entry {entry}; given by entry {index}",
        "count": "Unsealed:  {count}",
    },
    "zh": {
        "key": "您的密钥：{kid}",
        "proof": "证明：{file}（请交给 {provider}）",
        "service": "服务：{domain}",
        "agree": "同意吗？",
        "consent": "授权书：{file}",
        "paused": "已暂停，日志第 {index} 条。",
        "resumed": "已恢复，日志第 {index} 条。",
        "revoked": "已撤回，日志第 {index} 条。",
        "answer": "关于您的答复",
        "verdicts": "关于您的各项问题的结论",
        "document": "您的授权书",
        "unsealed": "{when}  {auditor}：{what}",
        "entries": "    日志第 {entry} 条；调阅记录在第 {index} 条",
        "count": "已调阅：{count} 次",
    },
}
DETAILS: Final = {"answer": "answer", "verdicts": "verdicts", "consent": "document"}
"""Details of log entries, and how those are told of them whom they are about."""


def known(language: str) -> str:
    """A language that is spoken here, before anything is done.

    Raises:
        Malformed: `BAD_LANGUAGE`.
    """
    if language not in WORDS:
        raise Malformed("BAD_LANGUAGE", "nothing is told in this language: take zh or en")
    return language


LanguageOption = Annotated[
    str,
    typer.Option(
        "--language",
        "-l",
        envvar="CREDPROOF_LANGUAGE",
        callback=known,
        help="Of what is shown: zh (Chinese) or en.",
    ),
]


def say(language: str, name: str, **values: object) -> None:
    """Print one line of the words."""
    told = {key: plain(value) for key, value in values.items()}
    out.print(WORDS[language][name].format(**told), markup=False)
