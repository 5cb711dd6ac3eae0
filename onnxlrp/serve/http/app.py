"""The HTTP server as an ASGI application: which address is answered by what."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from onnxlrp.serve.http.answers import refusal
from onnxlrp.serve.http.desk import PAGE, Desk, Service
from onnxlrp.serve.http.limits import BROKEN


def make_app(service: Service) -> Starlette:
    """Return the server as an ASGI application."""
    desk = Desk(service)
    model = f"/v2/models/{service.name}"
    routes = [
        *(Route(f"/{name}", desk.file(name)) for name in PAGE.values()),
        Route("/about", desk.about),
        Route("/metrics", desk.metrics_text),
        Route("/explain", desk.post("explain", desk.explain), methods=["POST"]),
        Route("/explain.png", desk.post("explain", desk.explain), methods=["POST"]),
        Route("/v2", desk.server),
        Route("/v2/health/live", desk.live),
        Route("/v2/health/ready", desk.ready),
    ]
    for base in (model, f"{model}/versions/1"):
        routes += [
            Route(base, desk.model),
            Route(f"{base}/ready", desk.ready),
            Route(f"{base}/infer", desk.post("infer", desk.infer), methods=["POST"]),
        ]
    trusted = Middleware(TrustedHostMiddleware, allowed_hosts=list(service.hosts) or ["*"])
    errors = {404: _not_found, 405: _not_found, BROKEN: _broken}
    return Starlette(
        routes=routes, middleware=[trusted], lifespan=desk.lifespan, exception_handlers=errors
    )


async def _not_found(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    return refusal(status, f"there is no {request.method} {request.url.path[:200]}")


async def _broken(_: Request, __: Exception) -> Response:
    return refusal(BROKEN, "the server failed at this request; its log says more")
