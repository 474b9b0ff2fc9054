"""Settings: from the environment, then `.env`, then `trueup.toml`, then the defaults.

The environment wins, so that a single run can be changed without editing a file. An empty variable
counts as not set. `.env` is shared with other programs, so unknown names in it are ignored, unless
a name looks like a misspelled setting that is given nowhere else. `trueup.toml` belongs to us
alone, so an unknown name in it is reported as a typing error.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from trueup.core.account.intended_account import account_named
from trueup.core.limits.limits import NO_LIMITS, LimitError, Limits, limits_from
from trueup.core.policy import DIFFERENCES
from trueup.errors import SettingsError
from trueup.passwords import HIDDEN, hide_passwords
from trueup.setting_places import ENV_FILE, TOML_FILE, may_be_set

LIMITS_TABLE: Final = "limits"
ENVIRONMENT: Final = "environment"

_NUMBER: Final = re.compile(r"[0-9]*\.?[0-9]+([eE][+-]?[0-9]+)?")
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
_HOURS: Final = re.compile(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d")
_WEB_ADDRESS: Final = re.compile(r"https?://[^\s/]+(/\S*)?")
_VALUE_SHOWN_CHARS: Final = 80
# The similarity from which a name counts as a misspelled setting (difflib's ratio): a letter too
# many or too few, two letters swapped, or a missing ending.
LIKENESS: Final = 0.84
# `.env` is written for the programs of one folder; the environment is shared by all programs.
OWN_NAME: Final = re.compile("gtw_|trueup_")
ANY_NAME: Final = re.compile("")


def _parsed(value: object) -> object:
    """Parse a number; whole numbers stay integers. `1_000`, `nan` and `yes` are not numbers."""
    if isinstance(value, bool):
        raise ValueError("not a number")
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not _NUMBER.fullmatch(text):
        raise ValueError("not a number")
    return int(text) if text.isdigit() else float(text)


def _number(value: object, handler: ValidatorFunctionWrapHandler) -> object:
    """Validate the parsed value, but let the error show the value as it was given."""
    try:
        return handler(_parsed(value))
    except ValidationError:
        raise ValueError("out of range") from None


def _host(value: str) -> str:
    host = value.strip()
    if host.startswith("[") and host.endswith("]"):
        # An IPv6 address with the brackets of an endpoint.
        return str(ipaddress.IPv6Address(host[1:-1]))
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if not _HOST_NAME.fullmatch(host):
            raise
    return host


def _joined(value: object) -> object:
    """Return a list of `trueup.toml` as the text that an environment variable has."""
    is_list = isinstance(value, list) and all(isinstance(part, str) for part in value)
    return ",".join(value) if isinstance(value, list) and is_list else value


def listed(text: str) -> tuple[str, ...]:
    """Return the values of a setting that are separated by commas, each once."""
    return tuple(dict.fromkeys(part for part in map(str.strip, text.split(",")) if part))


def _some_of(*words: str) -> Callable[[str], str]:
    """Return a validator: some of the words, separated by commas."""

    def check(text: str) -> str:
        if not set(listed(text)) <= set(words):
            raise ValueError("unknown word")
        return text

    return check


def _one_of(*words: str) -> Callable[[str], str]:
    """Return a validator: one of the words."""

    def check(text: str) -> str:
        if text.strip() not in words:
            raise ValueError("unknown word")
        return text.strip()

    return check


def _words(value: object) -> object:
    """Return a list of `trueup.toml` as text; URLs may have commas, and never have blanks."""
    is_list = isinstance(value, list) and all(isinstance(part, str) for part in value)
    return " ".join(value) if isinstance(value, list) and is_list else value


def _hours(value: str) -> str:
    text = value.strip()
    if text and (not _HOURS.fullmatch(text) or text[:5] == text[6:]):
        raise ValueError("not two times of a day")
    return text


def _zone(value: str) -> str:
    try:
        return ZoneInfo(value.strip()).key
    except (ZoneInfoNotFoundError, OSError) as error:
        raise ValueError("unknown zone") from error


def _web_address(value: str) -> str:
    text = value.strip()
    if text and not _WEB_ADDRESS.fullmatch(text):
        raise ValueError("no web address")
    return text


def _account(value: str) -> str:
    text = value.strip()
    if text:
        account_named(text)
    return text


class Settings(BaseSettings):
    """All values that can be set from outside the code; immutable."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_file=ENV_FILE,
        env_file_encoding="utf-8-sig",
        # Programs such as compose pass on variables that were never set, as empty texts.
        env_ignore_empty=True,
    )

    sync_interval_sec: Annotated[
        int | float, Field(gt=0, le=86_400, allow_inf_nan=False), WrapValidator(_number)
    ] = Field(
        default=15,
        description=(
            "Seconds between two comparisons of the local book with the broker. "
            "15 notices a change made by hand within a quarter of a minute and costs the gateway "
            "four small requests a minute. It cannot be switched off: a book that is never "
            "compared is a guess. To choose the moments yourself, call `sync_positions()`."
        ),
        json_schema_extra={"valid": "give a number of seconds above 0, at most 86400"},
    )
    gtw_host: Annotated[str, AfterValidator(_host)] = Field(
        default="172.19.141.255",
        description=(
            "Host name or IP address of the machine that runs the gateway beside the terminal. "
            "The default is the gateway of the quick start. `trueup paper` trades at its own "
            "simulated terminal whatever this says; `trueup paper --gateway` trades elsewhere."
        ),
        json_schema_extra={
            "valid": "give a host name or an IP address, without tcp:// and without a port"
        },
    )
    gtw_port: Annotated[int, Field(ge=1, le=65_535), WrapValidator(_number)] = Field(
        default=5555,
        description=(
            "TCP port that the gateway listens on. The default is the gateway's own default. "
            "There is no off."
        ),
        json_schema_extra={"valid": "give a whole number from 1 to 65535"},
    )
    gtw_timeout_ms: Annotated[int, Field(ge=1, le=3_600_000), WrapValidator(_number)] = Field(
        default=2_000,
        description=(
            "Milliseconds to wait for an answer of the gateway. 2000 is longer than a healthy "
            "broker takes to fill a market order. It cannot be switched off: when it has passed, "
            "a reading counts as failed, and an order as in doubt, never as refused."
        ),
        json_schema_extra={"valid": "give a whole number of milliseconds from 1 to 3600000"},
    )

    gtw_server_key: Annotated[str, AfterValidator(str.strip)] = Field(
        default="",
        description=(
            "The gateway's public key, or the path of the file that has it (`gateway.key`). With "
            "it all traffic is encrypted, and no other machine can pass for the gateway. It needs "
            "`GTW_KEY_FILE` beside it. Put a key between single quotes. Empty is off: plain "
            "text, for a gateway on this machine or in a private network."
        ),
        json_schema_extra={
            "valid": "give the gateway's public key, 40 characters of Z85, or the path of its file"
        },
    )
    gtw_key_file: Annotated[str, AfterValidator(str.strip)] = Field(
        default="",
        description=(
            "Path of this program's own secret key file, made by `trueup keys new NAME`; the "
            "gateway identifies this program by it. No other user may be able to read the file. "
            "The key itself is never a setting, because settings end up in process lists and logs. "
            "Empty is off."
        ),
        json_schema_extra={"valid": "give the path of a secret key file (NAME.key_secret)"},
    )

    trueup_account: Annotated[str, AfterValidator(_account)] = Field(
        default="",
        description=(
            "The intended account, as login@server. A reconciler then trusts no reading of another "
            "account, and no reading that does not name its account, from the first reading on. A "
            "book without this setting belongs to the first account that it reads. Empty is off. "
            "The simulated terminal of `trueup paper` has no such account and is not checked."
        ),
        json_schema_extra={"valid": "give login@server, such as 5000001@MetaQuotes-Demo"},
    )

    trueup_journal: Annotated[str, AfterValidator(str.strip)] = Field(
        default="",
        description=(
            "Where `trueup run` and `trueup.mt5` keep their journal: a SQLite file or a "
            "postgresql:// URL. Empty is the file `paper.db`, or `mt5.db`, in the state folder "
            "(`.trueup`)."
        ),
        json_schema_extra={"valid": "give a file's path or a postgresql:// URL"},
    )
    trueup_gateway: Annotated[str, AfterValidator(str.strip)] = Field(
        default="",
        description=(
            "The gateway of `trueup run` and `trueup.mt5`, as tcp://HOST:PORT. Empty is the "
            "MetaTrader 5 terminal of this machine, which exists for Windows only; in `trueup run` "
            "it is GTW_HOST and GTW_PORT, if one of them is set."
        ),
        json_schema_extra={"valid": "give tcp://HOST:PORT, such as tcp://127.0.0.1:5555"},
    )
    trueup_magic: Annotated[int | None, Field(ge=0, lt=2**64), WrapValidator(_number)] = Field(
        default=None,
        description=(
            "The magic number of `trueup run`, and of a program that calls `trueup.mt5`: positions "
            "with another number are shown, and are another program's. Empty: `trueup.mt5` takes "
            "the number of the first order that opens a position, and for `trueup run` every "
            "position in its symbols is the bot's."
        ),
        json_schema_extra={"valid": "give a whole number from 0 to 2**64 - 1", "example": 7},
    )

    trueup_simulated: bool = Field(
        default=False,
        description=(
            "Whether `trueup run` and `trueup.mt5` use the simulated terminal of this folder, "
            "which is started if none runs. 0 or empty is off."
        ),
        json_schema_extra={"valid": "give 1 or 0"},
    )

    trueup_strategy: Annotated[str, AfterValidator(str.strip)] = Field(
        default="",
        description=(
            "The strategy of `trueup run`, as module:Class; the module is searched in the current "
            "folder first. Empty: the command names it."
        ),
        json_schema_extra={"valid": "give module:Class, such as my_bot:Breakout"},
    )
    trueup_symbols: Annotated[str, BeforeValidator(_joined), AfterValidator(str.strip)] = Field(
        default="",
        description=(
            "The symbols of `trueup run`, separated by commas, or in `trueup.toml` as a list. "
            "Prices, positions and orders in other symbols are not the bot's. Empty: every symbol "
            "of the account, for a strategy that asks for no prices."
        ),
        json_schema_extra={
            "valid": "give symbols as the broker spells them, such as EURUSD,GBPUSD"
        },
    )
    trueup_volume: Annotated[float, Field(gt=0, allow_inf_nan=False), WrapValidator(_number)] = (
        Field(
            default=0.01,
            description=(
                "Lots of an entry that `trueup run` makes for a signal of the strategy. An order "
                "that the strategy sends itself has its own volume. There is no off."
            ),
            json_schema_extra={"valid": "give a number of lots above 0"},
        )
    )
    trueup_adopt: Annotated[str, AfterValidator(_one_of("", "ours", "all", "ask"))] = Field(
        default="",
        description=(
            "Which unknown positions in the bot's symbols `trueup run` adopts. ours: positions "
            "with the magic number or comment of the bot. all: every position. ask: positions of "
            "the bot; others wait for approval. Empty: ours with a magic number, all without."
        ),
        json_schema_extra={"valid": "give ours, all or ask"},
    )
    trueup_ask: Annotated[str, BeforeValidator(_joined), AfterValidator(_some_of(*DIFFERENCES))] = (
        Field(
            default="",
            description=(
                "Classes of differences that wait for approval in `trueup run`, separated by "
                "commas. Empty is off."
            ),
            json_schema_extra={"valid": f"give some of {', '.join(DIFFERENCES)}"},
        )
    )
    trueup_alert: Annotated[
        str, BeforeValidator(_joined), AfterValidator(_some_of(*DIFFERENCES))
    ] = Field(
        default="",
        description=(
            "Classes of differences that `trueup run` only shows, separated by commas. Empty is "
            "off."
        ),
        json_schema_extra={"valid": f"give some of {', '.join(DIFFERENCES)}"},
    )
    trueup_comment_prefix: str = Field(
        default="",
        description=(
            "Positions with a comment that begins with this text are the bot's in `trueup run`, "
            "whatever their magic number. Empty is off."
        ),
        json_schema_extra={"valid": "give the beginning of a comment"},
    )
    trueup_expects_stop_loss: bool = Field(
        default=False,
        description="Whether `trueup run` shows every position of the bot without a stop loss.",
        json_schema_extra={"valid": "give 1 or 0"},
    )
    trueup_real_money: bool = Field(
        default=False,
        description=(
            "Whether `trueup run` trades on an account that is not known to be a demo. 0 or empty "
            "is off: such an account is refused at the first reading."
        ),
        json_schema_extra={"valid": "give 1 or 0"},
    )

    trueup_log: Annotated[str, AfterValidator(_one_of("text", "json"))] = Field(
        default="text",
        description=(
            "The form of the log of `trueup paper`, `run`, `terminal` and `gateway`, on the "
            "console and in a file. json: each line is an object with time, level, event, fields, "
            "and the id of the order that the line is about."
        ),
        json_schema_extra={"valid": "give text or json"},
    )
    trueup_limits: Annotated[str, AfterValidator(str.strip)] = Field(
        default="",
        description=(
            "Path of a TOML file with risk limits, in place of the table `[limits]` of "
            "`trueup.toml`. Limits that a program gives in its code replace both."
        ),
        json_schema_extra={"valid": "give the path of a TOML file with limits"},
    )

    trueup_alerts_to: Annotated[str, BeforeValidator(_words), AfterValidator(str.strip)] = Field(
        default="",
        description=(
            "The receivers of `trueup alerts`: URLs of Apprise, separated by blanks, or in "
            "`trueup.toml` as a list. Each gets every message. A URL is a secret and is never "
            "shown. Empty is off."
        ),
        json_schema_extra={
            "valid": "give URLs of Apprise, such as ntfys://TOPIC mailto://HOST?from=A&to=B",
            "secret": True,
        },
    )
    trueup_alerts_file: Annotated[str, AfterValidator(str.strip)] = Field(
        default="",
        description=(
            "Path of a file with further receivers of `trueup alerts`, a URL on each line. No "
            "other user may be able to read the file. Empty is off."
        ),
        json_schema_extra={"valid": "give the path of a file with a URL of Apprise on each line"},
    )
    trueup_alerts_level: Annotated[
        str, AfterValidator(_one_of("degraded", "needs_person", "halted"))
    ] = Field(
        default="degraded",
        description=(
            "The least bad state that `trueup alerts` tells. degraded: also what the bot retries "
            "by itself. needs_person: only what needs you. halted: only halted entries."
        ),
        json_schema_extra={"valid": "give degraded, needs_person or halted"},
    )
    trueup_alerts_after_sec: Annotated[
        int | float, Field(ge=0, le=86_400, allow_inf_nan=False), WrapValidator(_number)
    ] = Field(
        default=30,
        description=(
            "Seconds that a condition lasts before `trueup alerts` tells it. 30 leaves out what "
            "ends by itself, such as a bot that is started again. 0 tells everything at once."
        ),
        json_schema_extra={"valid": "give a number of seconds from 0 to 86400"},
    )
    trueup_alerts_calm_sec: Annotated[
        int | float, Field(ge=0, le=86_400, allow_inf_nan=False), WrapValidator(_number)
    ] = Field(
        default=60,
        description=(
            "Seconds that a condition stays away before `trueup alerts` tells that it is over. "
            "With 60, trouble that comes and goes is told once. 0 tells the end at once."
        ),
        json_schema_extra={"valid": "give a number of seconds from 0 to 86400"},
    )
    trueup_alerts_hourly: Annotated[int, Field(ge=1, le=100_000), WrapValidator(_number)] = Field(
        default=20,
        description=(
            "The most messages of `trueup alerts` in an hour. More are told together: every two "
            "minutes what needs a person, every ten minutes the rest. There is no off."
        ),
        json_schema_extra={"valid": "give a whole number from 1 to 100000"},
    )
    trueup_alerts_quiet: Annotated[str, AfterValidator(_hours)] = Field(
        default="",
        description=(
            "Quiet hours of `trueup alerts`, as 22:00-07:00 in the zone TRUEUP_ALERTS_ZONE. Within "
            "them only conditions that need a person are told; the others are told together at "
            "their end. Empty is off."
        ),
        json_schema_extra={"valid": "give two different times of a day, such as 22:00-07:00"},
    )
    trueup_alerts_zone: Annotated[str, AfterValidator(_zone)] = Field(
        default="UTC",
        description="The time zone of TRUEUP_ALERTS_QUIET. There is no off.",
        json_schema_extra={"valid": "give a zone of the IANA database, such as Europe/Berlin"},
    )
    trueup_alerts_heartbeat: Annotated[str, AfterValidator(_web_address)] = Field(
        default="",
        description=(
            "A URL that `trueup alerts` fetches again and again while all is well with the alerts "
            "themselves: a service that misses it tells you. The URL is a secret and is never "
            "shown. Empty is off."
        ),
        json_schema_extra={
            "valid": "give a URL that begins with https:// or http://",
            "secret": True,
        },
    )
    trueup_alerts_heartbeat_sec: Annotated[
        int | float, Field(ge=1, le=86_400, allow_inf_nan=False), WrapValidator(_number)
    ] = Field(
        default=60,
        description="Seconds between two fetches of TRUEUP_ALERTS_HEARTBEAT. There is no off.",
        json_schema_extra={"valid": "give a number of seconds from 1 to 86400"},
    )

    @property
    def gateway_is_configured(self) -> bool:
        """Whether the host or the port was given, even with its default value."""
        return not self.model_fields_set.isdisjoint({"gtw_host", "gtw_port"})

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        toml_settings = InitSettingsSource(settings_cls, init_kwargs=_read_toml(Path(TOML_FILE)))
        sources = env_settings, dotenv_settings, toml_settings
        given = {name for source in sources for name in _names(source)}
        _refuse_typing_errors(_names(env_settings), given, "the environment", OWN_NAME)
        _refuse_typing_errors(_names(dotenv_settings), given, ENV_FILE, ANY_NAME)
        return init_settings, *sources


def _names(source: PydanticBaseSettingsSource) -> Mapping[str, Any]:
    """Return all names in a source, ours and others', in lower case."""
    if isinstance(source, EnvSettingsSource):
        return source.env_vars
    return source.init_kwargs if isinstance(source, InitSettingsSource) else {}


def _refuse_typing_errors(
    names: Mapping[str, Any], given: Container[str], place: str, pattern: re.Pattern[str]
) -> None:
    """Refuse an unknown name that looks like a setting which is given nowhere."""
    missing = [field for field in Settings.model_fields if field not in given]
    for name, value in names.items():
        if name in Settings.model_fields or not pattern.match(name):
            continue
        for meant in difflib.get_close_matches(name, missing, 1, LIKENESS):
            valid = (
                f"{place} has it, and no setting has this name: did you mean {meant.upper()}? "
                "Where it is another program's, set that as well"
            )
            text = HIDDEN if is_secret(meant) else shown(value)
            raise SettingsError(name.upper(), text, valid)


def load_settings(**given: Any) -> Settings:
    """Read the current settings; files are read from the current folder.

    Args:
        given: settings that replace those of the environment and the files; None is not given.

    Raises:
        SettingsError: the first value that cannot be used.
    """
    _read_text(Path(ENV_FILE))
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = str(first["loc"][0])
        value = HIDDEN if is_secret(field) else shown(first["input"])
        raise SettingsError(field.upper(), value, valid_values(field)) from None


def given_settings() -> dict[str, dict[str, Any]]:
    """Return the values that each place sets, by field, as they stand there.

    The places come in the order in which they win: the environment, `.env`, `trueup.toml`.

    Raises:
        SettingsError: a file cannot be read.
    """
    _read_text(Path(ENV_FILE))
    places = {
        ENVIRONMENT: EnvSettingsSource(Settings)(),
        ENV_FILE: DotEnvSettingsSource(Settings)(),
        TOML_FILE: _read_toml(Path(TOML_FILE)),
    }
    known = Settings.model_fields
    return {
        place: {name: value for name, value in found.items() if name in known}
        for place, found in places.items()
    }


def account_setting() -> str:
    """Return the setting TRUEUP_ACCOUNT; fast if there is no variable and no file to read.

    Raises:
        SettingsError: a setting cannot be used.
    """
    return load_settings().trueup_account if may_be_set("trueup_account") else ""


def limits_setting() -> Limits:
    """Return the risk limits: of the file that TRUEUP_LIMITS names, or of `trueup.toml`.

    Raises:
        SettingsError: a setting, or a limit, cannot be used.
    """
    named = load_settings().trueup_limits
    path = Path(named or TOML_FILE)
    if named and not path.is_file():
        raise SettingsError("TRUEUP_LIMITS", shown(named), valid_values("trueup_limits"))
    table = toml_table(path)
    limits = table.get(LIMITS_TABLE)
    if limits is None:
        # A file of limits alone needs no table; in `trueup.toml` the other names are settings.
        limits = table if named else {}
    if not isinstance(limits, dict):
        raise SettingsError(LIMITS_TABLE, shown(limits), f"write a table [{LIMITS_TABLE}]")
    if not limits:
        return NO_LIMITS
    try:
        return limits_from(limits)
    except LimitError as error:
        name = f"{error.name} in {path.name}"
        raise SettingsError(name, shown(error.value), error.valid) from None


def is_secret(field: str) -> bool:
    """Return whether the value of a field must not be shown."""
    extra = Settings.model_fields[field].json_schema_extra
    return isinstance(extra, dict) and extra.get("secret") is True


def valid_values(field: str) -> str:
    """Return the valid values of a field, as the second half of an error message."""
    extra = Settings.model_fields[field].json_schema_extra
    assert isinstance(extra, dict)
    return str(extra["valid"])


def toml_table(path: Path) -> dict[str, Any]:
    """Return the names and values of a TOML file, empty if there is no file.

    Raises:
        SettingsError: the file cannot be read.
    """
    text = _read_text(path)
    try:
        return {name.lower(): value for name, value in tomllib.loads(text).items()}
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(path.name, _offending_line(text, error), "write name = value") from None
    except RecursionError:
        raise SettingsError(path.name, shown(text), "write name = value, nothing nested") from None


def _read_toml(path: Path) -> dict[str, Any]:
    table = toml_table(path)
    if isinstance(table.get(LIMITS_TABLE), dict):
        # Read by `limits_setting`.
        table.pop(LIMITS_TABLE)
    known = Settings.model_fields
    for name, value in table.items():
        if name not in known:
            valid = f"the names in {path.name} are {', '.join(known)}"
            # A misspelt name may have any setting's value.
            is_like_secret = any(is_secret(one) for one in difflib.get_close_matches(name, known))
            raise SettingsError(name, HIDDEN if is_like_secret else shown(value), valid)
    return table


def _read_text(path: Path) -> str:
    """Return the text of a file, or an empty text if the file does not exist."""
    try:
        return path.read_bytes().decode("utf-8-sig") if path.is_file() else ""
    except UnicodeDecodeError as error:
        value = repr(error.object[error.start : error.start + 1])
        raise SettingsError(path.name, value, "save the file as UTF-8 text") from None
    except OSError as error:
        raise SettingsError(path.name, str(error.strerror), "make the file readable") from None


def _offending_line(text: str, error: tomllib.TOMLDecodeError) -> str:
    place = re.search(r"at line (\d+)", str(error))
    lines = text.splitlines() or [""]
    return shown(lines[min(int(place[1]), len(lines)) - 1] if place else lines[-1])


def shown(value: object) -> str:
    """Return a value as an error message shows it: short, and without passwords."""
    text = hide_passwords(str(value))
    return text if len(text) <= _VALUE_SHOWN_CHARS else text[:_VALUE_SHOWN_CHARS] + "…"
