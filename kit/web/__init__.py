"""HTTP for every process of ours: typed routes, an OpenAPI document, problems instead of error pages, and a guard.

    routes = Routes("orders")

    @routes.get("/api/v1/orders/{number}", permission="orders.read", summary="One order")
    async def show(call: Call, number: int) -> OrderView:
        return await service.order(number)

    api = Api("shop", "1", [routes], Hooks(authenticate=sessions.authenticate))
    app = web.Application()
    api.mount(app)
    static_site(app, dist)
    server = HttpServer("http", app, guard=Guard(GuardSettings(hosts=frozenset({"localhost"}))), port=8080)

Annotations are read at run time: the types of a handler are imported normally, not under TYPE_CHECKING.
"""

from kit.web.api import Api, Audited, Hooks
from kit.web.call import SIGNED_IN, Call, Cookie, FileBody, Page, Principal, peer_certificate
from kit.web.guard import Guard, GuardSettings
from kit.web.limits import Limits
from kit.web.problem import REQUEST_ID, Problem, problem_response
from kit.web.routes import Operation, RouteError, Routes
from kit.web.server import HttpServer, ListenError, open_websocket
from kit.web.static import STRICT_CSP, StaticSiteError, static_site

__all__ = [
    "REQUEST_ID",
    "SIGNED_IN",
    "STRICT_CSP",
    "Api",
    "Audited",
    "Call",
    "Cookie",
    "FileBody",
    "Guard",
    "GuardSettings",
    "Hooks",
    "HttpServer",
    "Limits",
    "ListenError",
    "Operation",
    "Page",
    "Principal",
    "Problem",
    "RouteError",
    "Routes",
    "StaticSiteError",
    "open_websocket",
    "peer_certificate",
    "problem_response",
    "static_site",
]
