import pytest

from kit.served_api import ServedApi
from storage.event_log import Log

pytestmark = pytest.mark.integration


def test_x(api: ServedApi, log: Log) -> None:
    log.store(*[log.event() for _ in range(5)])
    t = api.token()
    a = api.token(scope="admin")
    for path, tok in [
        ("/v1/accounts/acc_1/events", t),
        ("/v1/accounts/acc_1/events?limit=2&since=3000d&action=license_updated", t),
        ("/v1/accounts/acc_2/events", t),
        ("/v1/accounts/acc_1/histogram?x=1&y=2", t),
        ("/v1/accounts/acc_1/histogram", t),
        ("/v1/accounts/acc_1/facets/action", t),
        ("/v1/accounts/acc_1/facets/foo", t),
        ("/v1/actions?z=1", t),
        ("/v1/accounts/acc_1/tokens", a),
        ("/v1/accounts/acc_1/items/license/lic_1/events?limit=1", t),
        ("/v1/accounts/acc_1/items/license/a%2Fb/events", t),
        ("/v1/accounts/acc_1/events?q=action:", t),
        ("/livez", None),
        ("/readyz", None),
        ("/metrics", None),
        ("/openapi.json", None),
        ("/v1/accounts/acc_1/events/xx", t),
        ("/v1/accounts/acc_1/events?limit=0&limit=3", t),
    ]:
        r = api.get(path, tok)
        print(path, r.status_code, r.text[:700], r.headers.get("link"))
    r = api.get("/v1/accounts/acc_1/events", t, headers={"accept": "text/csv"})
    print(r.text)
    print(api.ask("POST", "/v1/accounts/acc_1/tokens", a, json={"scope": "read", "name": "x"}).text)
    print(api.ask("POST", "/v1/accounts/acc_1/viewer-tokens", a, json={"item": "license/lic_1"}).text)
    assert 0
