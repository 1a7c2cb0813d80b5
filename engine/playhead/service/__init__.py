"""The service: the server's work in this process, behind the port `ServerApi`. Never imports pickle, never opens storage."""

from playhead.service.service import Service
from playhead.service.settings import ServiceSettings

__all__ = ["Service", "ServiceSettings"]
