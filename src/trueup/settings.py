"""Settings: from the environment, then `.env`, then `trueup.toml`, then the defaults.

The environment wins, so that a single run can be changed without editing a file. An empty variable
counts as not set. `.env` is shared with other programs, so unknown names in it are ignored, unless
a name looks like a misspelled setting that is given nowhere else. `trueup.toml` belongs to us
alone, so an unknown name in it is reported as a typing error.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

from pydantic import (
    AfterValidator,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from trueup.core.account.intended_account import account_named
from trueup.errors import SettingsError

ENV_FILE: Final = ".env"
TOML_FILE: Final = "trueup.toml"

_NUMBER: Final = re.compile(r"[0-9]*\.?[0-9]+([eE][+-]?[0-9]+)?")
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
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
            raise SettingsError(name.upper(), _shown(value), valid)


def load_settings() -> Settings:
    """Read the current settings; files are read from the current folder.

    Raises:
        SettingsError: the first value that cannot be used.
    """
    _read_text(Path(ENV_FILE))
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = str(first["loc"][0])
        raise SettingsError(field.upper(), _shown(first["input"]), valid_values(field)) from None


def account_setting() -> str:
    """Return the setting TRUEUP_ACCOUNT; fast if there is no variable and no file to read.

    Raises:
        SettingsError: a setting cannot be used.
    """
    is_set = any(name.lower() == "trueup_account" for name in os.environ)
    if not is_set and not Path(ENV_FILE).exists() and not Path(TOML_FILE).exists():
        return ""
    return load_settings().trueup_account


def valid_values(field: str) -> str:
    """Return the valid values of a field, as the second half of an error message."""
    extra = Settings.model_fields[field].json_schema_extra
    assert isinstance(extra, dict)
    return str(extra["valid"])


def _read_toml(path: Path) -> dict[str, Any]:
    text = _read_text(path)
    try:
        table = {name.lower(): value for name, value in tomllib.loads(text).items()}
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(path.name, _offending_line(text, error), "write name = value") from None
    except RecursionError:
        raise SettingsError(path.name, _shown(text), "write name = value, nothing nested") from None
    known = Settings.model_fields
    for name, value in table.items():
        if name not in known:
            valid = f"the names in {path.name} are {', '.join(known)}"
            raise SettingsError(name, _shown(value), valid)
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
    return _shown(lines[min(int(place[1]), len(lines)) - 1] if place else lines[-1])


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= _VALUE_SHOWN_CHARS else text[:_VALUE_SHOWN_CHARS] + "…"
