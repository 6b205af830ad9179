"""The base of every message: frozen, and deaf to members that a newer peer has added."""

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """A record that crosses the wire as JSON."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="null", ser_json_bytes="base64")

    def as_json(self) -> bytes:
        """As it goes out: UTF-8, without members that are null. Made once, with no text in between to be encoded."""
        return self.__pydantic_serializer__.to_json(self, exclude_none=True)
