"""Error classification: context exceeded, rate limited or model not found.

By the error's codes and its words.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Final

from pytest_flperf.wire.errors import ServerError
from pytest_flperf.wire.sample import Outcome

__all__ = ["kind_of"]

_SEARCHED: Final = 4_000
_MENTIONS: Final = 16
_OTHER: Final = re.compile(r"[^a-z0-9]+")

# Letters and digits only, so that DeploymentNotFound and deployment_not_found are one.
_BY_CODE: Final = {
    Outcome.CONTEXT_EXCEEDED: frozenset({
        "contextlengthexceeded", "exceedcontextsizeerror", "contextwindowexceeded", "contextwindowexceedederror",
        "modelcontextwindowexceeded", "contextlimitexceeded", "contextsizeexceeded", "prompttoolong", "inputtoolong",
        "inputlengtherror", "tokenslimitreached", "contextoverflow", "contextlengthexceedederror",
    }),
    Outcome.RATE_LIMITED: frozenset({
        "ratelimitexceeded", "ratelimiterror", "ratelimited", "ratelimit", "ratelimitreached", "toomanyrequests", "429",
        "toomanyrequestserror", "insufficientquota", "quotaexceeded", "throttlingexception", "throttled", "throttling",
        "ratelimitreachederror", "ratelimitexceedederror", "concurrencylimitexceeded", "resourceexhausted",
    }),
    Outcome.MODEL_NOT_FOUND: frozenset({
        "modelnotfound", "modelnotfounderror", "modelnotfoundexception", "deploymentnotfound", "invalidmodel",
        "modelnotexist", "unknownmodel", "invalidmodelid", "modelnotsupported", "modeldecommissioned",
    }),
}  # fmt: skip

# What a server quotes of the request is no word of its own: pydantic's input_value='…', a template's "content": "…",
# llama.cpp's "Failed to parse input at pos 0: …".
_ECHO: Final = re.compile(
    r"(?:\binput_value\s?=|[\"']\\{0,3}(?:input|content|prompt|text|messages)\\{0,3}[\"']\s?:)\s?\\{0,3}"
    r"(?:\"(?:[^\"\\]|\\.){0,4000}+\"?|'(?:[^'\\]|\\.){0,4000}+'?|\[[^\]]{0,4000}+)"
    r"|\b(?:(?:user|your|given|received) (?:input|prompt|content|text|query|message|request)|prompt|query)(?: was| is)?"
    r"\s?[:=]\s?(?:\"[^\"]{0,4000}+\"?|'[^']{0,4000}+'?|“[^”]{0,4000}+”?)"
    r"|\b(?:at pos|at position|near) \d{1,9}: .{0,4000}",
    re.IGNORECASE | re.DOTALL,
)

_RATE: Final = re.compile(
    r"\brate[ _-]?limit\w*[^.]{0,40}?\b(?:exceed|reach|hit|error|for\b)"
    r"|\b(?:exceed|reach|hit|over)\w*[^.]{0,60}?\brate[ _-]?limit|\brate[ _-]limited\b|\bratelimit(?:error|exceeded)"
    r"|\btoo many (?:concurrent )?requests|\b(?:exceed|reach|insufficient|out of)\w*[^.]{0,60}?[ _]quota"
    r"|\bquota\b[^.]{0,60}?\b(?:exceed|exhaust|reached)|\bthrottl(?:ed|ing)|\bconcurrency limit"
    r"|\b(?:tokens?|requests?) per (?:min|day|second|hour)|\bplease wait before trying"
    r"|\blimit per (?:min|day|second|hour)|\bcapacity exceeded|\bresource has been exhausted"
    r"|\bconcurren(?:t|cy)[ _]?(?:requests?|connections?)?[ _]limit"
    r"|\b(?:limit|exceed|reach)\w*[^.]{0,40}?\b[RT]P[MDS]\b"
    r"|\b[RT]P[MDS]\b[^.]{0,40}?\b(?:limit|exceed|reach)"
    r"|速率限制|速率.{0,8}[超达]|频率.{0,8}(?:限制|过高|超)|限流|请求过于频繁|并发.{0,10}(?:超|过高|上限|限制)|配额.{0,8}(?:不足|超|用[尽完])",
    re.IGNORECASE,
)

_SIZE: Final = (
    r"(?:context[ _-]?(?:length|size|window|limit)|\bn_ctx\b|max_model_len|max_seq_len|max_context\w*"
    r"|\bKV (?:size|cache)|max_position_embeddings|\bsession[ _]len|\bmodel(?:['’]s)? max(?:imum)? length"
    r"|(?:input|prompt|sequence|context) (?:length|size) limit"
    r"|(?:maximum|max) (?:allowed )?(?:model|sequence|input|prompt|context|token)(?: token| input)? (?:length|size))"
)
_CONTEXT: Final = re.compile(
    # exceeds the context window, is longer than max_model_len, too large for model with 131072 maximum context length
    r"\b(?:exceed\w*|(?:long|larg|great|bigg|high)er than|more than|overflow\w*|beyond|too (?:long|large|big|many)"
    rf"|(?:not|n['’]t) fit|must be less than(?!(?: or equal to)? `?\d))\b[^.]{{0,100}}?{_SIZE}"
    # context length exceeded, context window exceeds limit
    r"|\bcontext[ _-]?(?:length|size|window|limit)[ _-](?:is |was |has been )?(?:exceed|overflow|reached)"
    r"|\breached (?:the )?context (?:length|size|limit)|\bcontextwindowexceeded|\bcontext overflow"
    # This model's maximum context length is 4097 tokens; configured context size is 131,072; context length of only
    r"|\b(?:maximum|max|configured|model['’]?s) (?:context|prompt|input|sequence) (?:length|size|window)"
    r" (?:is|of) (?:only )?\d"
    r"|\bcontext length of only \d"
    # prompt is too long: 213462 tokens > 200000 maximum; Input prompt (9762 tokens) is too long
    r"|\b(?:prompt|input|request|conversation|messages)(?: tokens?| length)?(?: \([^)]{0,40}\))?"
    r" (?:is |are |was )?too long\b"
    r"|\b(?:prompt|input)s?(?: tokens?)? exceeds? (?:the )?(?:configured )?(?:max|limit)"
    # The input token count (1200293) exceeds the maximum; prompt length (5000) exceeds
    r"|\b(?:input|prompt)(?: token)? (?:count|length)\b[^.]{0,60}?\b(?:exceed|only supports|is greater|is larger)"
    r"|\b(?:input|prompt) tokens\b[^.]{0,40}?\b(?:exceeds?|cannot exceed|must not exceed)\b[^.]{0,30}?\b(?:max|limit)"
    # ONNX Runtime GenAI and llama.cpp: input sequence_length (5000) is >= max_length (2048), n_tokens (5000) > n_ctx
    r"|\b(?!max_|min_)\w{0,40}(?:length|size|tokens|ids)\b[^.]{0,30}?>=? ?(?:max_length|max_\w{0,20}len\w*|n_ctx)"
    # input_ids size (3216) + current sequence length (0) exceeds max length (2048)
    r"|\b(?:sequence length|prompt length|input_ids size|tokens)\b[^.]{0,60}?\bexceeds? (?:the )?max(?:imum)?[ _]length"
    r"|\binput length of input_ids is \d{1,9}, but"
    # TensorRT-LLM: the sum of prompt length (2000.0), query length (0) should not exceed max_num_tokens
    r"|\b(?:prompt|input|query|sequence) length\b.{0,60}?\b(?:exceed|greater than|larger than|longer than)"
    r".{0,20}?\bmax_(?:num_tokens|input_len|seq_len)"
    # older vLLM, where the prompt left less than nothing for the answer
    r"|\bmax_(?:completion_)?tokens must be at least 1, got -\d"
    # GitHub Models, SambaNova, Volcengine
    r"|\btoo large for \S{1,100} model\b.{0,20}?\bmax size: \d{1,9} tokens"
    r"|\bmaximum supported (?:sequence|context) length is (?:just )?\d|\bexceeds? max message tokens"
    r"|\btoo many (?:input )?tokens\b|\bmax input tokens: \d"
    r"|\bexceeded (?:the )?(?:model )?token limit|\btoken limit exceeded|\brange of input length should be"
    # TGI, old and new
    r"|\binputs?`? (?:tokens \+ `?max_new_tokens`? must be <=|must have less than \d{1,9} tokens)"
    # llama.cpp and LM Studio
    r"|\bn_keep\b.{0,30}\bn_ctx|\bkeep the first \d{1,9} tokens"
    r"|\breduce the length of the (?:messages|prompt|input)"
    r"|上下文.{0,12}(?:超|过长)|超[过出].{0,20}(?:上下文|最大长度)|(?:prompt|输入).{0,4}(?:超长|过长)"
    r"|(?:prompt|输入|提示).{0,10}超[过出](?!.{0,10}(?:每|频率|速率|并发)).{0,12}(?:限制|上限|长度)",
    re.IGNORECASE,
)

_NO_CONTEXT: Final = re.compile(r"\bout of memory\b|\btim(?:ed|e)[ -]?out\b", re.IGNORECASE)
"""What else a prompt can be too long for."""

_MODEL: Final = re.compile(
    r"\bmodel_?not_?found|\bmodel_not_supported|\bmodel: \S{1,200} · not_found_error"
    r"|\b(?:unknown|no such) (?:llm )?model\b(?!['’]s)"
    r"|\b(?:invalid|unsupported) model(?: (?:name|id|identifier|specified|path)\b|\s?[:='\"`(.,]|\s*\Z)"
    r"|\bnot a valid model(?: id)?\b|\bmodel identifier is invalid|\bno models? (?:was |were )?(?:named|called|found)\b"
    r"|\b(?:can ?not|can['’]t|could not|couldn['’]t|unable to) (?:find|access|resolve|locate)"
    r" (?:an? |the )?(?:[\w-]{1,20} )?model(?: ?ids?)?\b(?!['’]s)"
    r"|\bnot found(?: the|:) model\b|\bno endpoints found for (?!\w+ that)|\bprovider found for model"
    r"|\bdeployment for this resource does not exist|\bmodel\b[^.]{0,80}\bhas been decommissioned"
    # mlx_lm, FastChat, OpenVINO's server, LiteLLM
    r"|\brepository not found for url: \S{1,300}?/models/|\bonly .{1,300}? allowed now, your model\b"
    r"|\bgraph definition with requested name is not found|\bno healthy deployments? for this model\b"
    r"|模型[^，。；的]{0,60}?(?:不存在|未找到|找不到|未注册|未部署|无效)|(?:不存在|未找到|找不到|未知|无效|不支持)(?:的|该|此)模型"
    r"|模型[^，。；的]{0,100}?无可用渠道",
    re.IGNORECASE,
)
_DENIED: Final = re.compile(
    # a dot inside a name, as in qwen2.5, doesn't end the sentence
    r"\bmodels?(?:[_ ]?(?:name|id))?\b(?P<between>(?:[^.;·\n]|\.(?!\s|\Z)){0,160}?)"
    r"(?:\b(?:not|never|no longer)|n['’]t)\b (?:be )?(?:a )?"
    r"(?P<verb>found|exists?|available|known(?! to\b)|supported|registered|served|recogni[sz]ed|installed|deployed)\b"
    r"(?=(?P<behind>.{0,80}))"
    r"|\bmodels?\b(?P<before>(?:[^.;·\n]|\.(?!\s|\Z)){0,160}?)\bis unknown\b",
    re.IGNORECASE,
)
_QUOTED: Final = re.compile(r"`[^`]{0,200}+`|'[^']{0,200}+'|\"[^\"]{0,200}+\"|\\\"[^\"]{0,200}+\\\"|<[^>]{0,200}+>")
_FILLERS: Final = frozenset({
    "the", "a", "an", "this", "that", "requested", "specified", "given", "provided", "selected", "named", "called",
    "with", "name", "names", "id", "ids", "identifier", "key", "alias", "version", "you", "of", "and", "or", "is",
    "was", "are", "were", "does", "do", "did", "has", "have", "could", "can", "would", "be", "been", "it", "its", "on",
    "asked", "for",
})  # fmt: skip
_OTHER_THINGS: Final = re.compile(
    r"\b(?:currently|temporarily|still|yet|ready|busy|loading|overloaded|temperature|top_\w+|max_\w+|\w*tokens?|tools?|tool_\w+"
    r"|stream\w*|stop|seed|n|logprobs|logit_bias|\w*penalty|images?|vision|audio|video|reasoning\w*|thinking|system|roles?"
    r"|functions?|parameters?|params?|features?|json|response_format|files?|weights?|config\w*|templates?|tokenizers?"
    r"|adapters?|lora|processor|endpoint|path|type|format|input|output|user|key|account|region|chat|architectur\w*|runner"
    r"|server|backend|provider|engine|worker|process|instance|replica|card|repo\w*|directory|folder|module|class|batch"
    r"|quanti\w*|cache|binary|which)\b",
    re.IGNORECASE,
)
_FOR_NOW: Final = re.compile(
    r"\s*(?:yet|(?:right )?now|currently|at (?:the|this) (?:moment|time)|temporarily|because|due to|until)\b"
    r"|.{0,60}?\b(?:yet|downloading|download in progress|(?:is|still|being) (?:loading|loaded|downloaded|pulled)"
    r"|try again (?:in|later))\b",
    re.IGNORECASE,
)
_FOR_THIS: Final = re.compile(
    r"\s*(?:in|on|with|when|if|by|for|as)\b"
    r"(?! any provider| (?:this|the|our) (?:server|host|machine|instance|endpoint|cluster|node|deployment)\b)",
    re.IGNORECASE,
)
_CLAUSE: Final = re.compile(r"(?:[^.:;,(\n]|[.:](?=\S))*")
_PART_OF_MODEL: Final = re.compile(
    r"\b(?:templates?|tokenizers?|adapters?|lora|config\w*|weights|files?|processor|parser|architecture|cache|tools?)\b"
    r"[^.;·]{0,20}\b(?:for|of|from)(?: the| this)? *\Z",
    re.IGNORECASE,
)
"""Ahead of "model": what wasn't found is a part of it."""


def kind_of(error: ServerError, status: int | None = None) -> Outcome | None:
    """Classify an error; None for other kinds of errors.

    The kinds are ``context_exceeded``, ``rate_limited`` and ``model_not_found``.

    Args:
        error: What the server said.
        status: The HTTP status, where it is that of an error.

    """
    words = _ECHO.sub(" ", error.words[:_SEARCHED])
    codes = {_OTHER.sub("", code.lower()) for code in error.codes if len(code) <= 100}
    of_memory = _NO_CONTEXT.search(words) is not None
    if of_memory:
        codes.discard("resourceexhausted")  # gRPC's word for both
    rated = _RATE.search(words) is not None
    if not rated and not codes.isdisjoint(_BY_CODE[Outcome.CONTEXT_EXCEEDED]):
        return Outcome.CONTEXT_EXCEEDED
    for kind in (Outcome.RATE_LIMITED, Outcome.MODEL_NOT_FOUND):
        if not codes.isdisjoint(_BY_CODE[kind]):
            return kind
    # "Too many tokens" is a rate to some and a length to others: what a rate is called decides.
    if rated:
        return Outcome.RATE_LIMITED
    if not of_memory and _CONTEXT.search(words) is not None:
        return Outcome.CONTEXT_EXCEEDED
    return Outcome.MODEL_NOT_FOUND if status != 503 and _is_about_model(words) else None


def _is_about_model(words: str) -> bool:
    """Whether the server doesn't have the requested model.

    Not: a model that is not loaded yet, is overloaded, or doesn't take a parameter; nor a part of one.
    """
    if any(_is_named(words[found.end() : found.end() + 80]) for found in islice(_MODEL.finditer(words), _MENTIONS)):
        return True
    return any(_is_denied(words, found) for found in islice(_DENIED.finditer(words), _MENTIONS))


def _is_named(behind: str) -> bool:
    """Whether the missing thing is a model, by the words behind it.

    A model that is only being loaded is not missing.
    """
    clause = _CLAUSE.match(behind)
    things = (_OTHER_THINGS.fullmatch(word) for word in (clause[0].split() if clause else [])[:2])
    return not any(things) and _FOR_NOW.match(behind) is None


def _is_denied(words: str, found: re.Match[str]) -> bool:
    """Whether a sentence says of a model that it does not exist.

    And says that of nothing else.
    """
    behind, verb = found["behind"] or "", (found["verb"] or "").lower()
    if _FOR_NOW.match(behind) is not None or _PART_OF_MODEL.search(words[max(found.start() - 60, 0) : found.start()]):
        return False
    if verb in ("available", "supported") and _FOR_THIS.match(behind) is not None:
        return False
    bare = _QUOTED.sub(" ", found["between"] if found["between"] is not None else found["before"])
    if _OTHER_THINGS.search(bare) is not None:
        return False
    rest = [word for word in re.split(r"[\s:,=()\[\]]+", bare) if word and word.lower() not in _FILLERS]
    return len(rest) <= 1  # its name
