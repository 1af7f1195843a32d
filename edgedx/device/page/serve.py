"""The page's process."""

from __future__ import annotations

from .settings import PageSettings


def serve_page(settings: PageSettings, host: str, port: int) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    import uvicorn

    from .app import make_app

    uvicorn.run(make_app(settings), host=host, port=port, access_log=False, server_header=False, log_level="warning")
