"""The link that opens Prefect's UI with the password. The browser stores it as if it had been typed into the UI's own form."""

from typing import Final
from urllib.parse import quote

from flows.server.guard import Application, Message, Receive, Send

PATH: Final = "/ferflow-login"

PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<title>ferflow</title>
<p id="said">Opening the pages&hellip;</p>
<script>
const given = location.hash.slice(1);
history.replaceState(null, "", location.pathname);
(async () => {
  const token = btoa(decodeURIComponent(given));
  const answer = await fetch("/api/admin/version", {headers: {Authorization: `Basic ${token}`}});
  if (!answer.ok) throw new Error(answer.status);
  localStorage.setItem("prefect-password", token);
  location.replace("/");
})().catch(() => {
  document.getElementById("said").textContent = "This link has another password. `ferflow up` prints the file of the password.";
});
</script>
</html>
"""
"""The part after # stays in the browser: it is sent to no server and is in no log. Both of Prefect's interfaces store the password of
their own form under `prefect-password`.
"""


def login_url(url: str, password: str) -> str:
    """url: of the pages."""
    return f"{url}{PATH}#{quote(password, safe='')}"


def with_login(application: Application) -> Application:
    """The same application, with the page."""

    async def answer(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] not in ("GET", "HEAD"):
            await application(scope, receive, send)
            return
        body = PAGE.encode()
        headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return answer
