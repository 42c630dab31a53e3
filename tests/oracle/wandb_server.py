# Stands in for the W&B server while `wandb sync` runs: answers what the client asks and keeps what it sends.
import gzip, http.server, json, re, threading


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, value):
        text = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def body(self):
        text = b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while n := int(self.rfile.readline().strip() or b"0", 16):
                text += self.rfile.read(n)
                self.rfile.readline()
            self.rfile.readline()
        else:
            text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return gzip.decompress(text) if self.headers.get("Content-Encoding") == "gzip" else text

    def do_GET(self):
        self.answer({})

    def do_PUT(self):
        self.server.files[self.path.rsplit("/up/", 1)[-1]] = self.body()
        self.answer({})

    def do_POST(self):
        text = self.body()
        stream = re.match(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", self.path)
        if stream:
            self.stream(self.server.runs.setdefault(stream.group(1), {"rows": [], "exit": None}), json.loads(text or b"{}"))
        elif self.path.endswith("/graphql"):
            self.graphql(json.loads(text))
        else:
            self.answer({})

    def stream(self, run, sent):
        history = (sent.get("files") or {}).get("wandb-history.jsonl")
        if history:  # offset: lines that the server has already
            run["rows"][history["offset"]:] = [json.loads(line) for line in history["content"]]
        if sent.get("complete"):
            run["exit"] = sent.get("exitcode")
        self.answer({"limits": {}})

    def graphql(self, query):
        asked = re.search(r"(?:query|mutation)\s+(\w+)", query["query"]).group(1)
        given = query.get("variables") or {}
        entity = {"name": "team", "id": "e"}
        if asked == "UpsertBucket":
            run = self.server.runs.setdefault(given["name"], {"rows": [], "exit": None})
            bucket = {"id": "b", "name": given["name"], "displayName": given.get("displayName") or given["name"], "description": "", "config": "{}",
                      "sweepName": None, "historyLineCount": len(run["rows"]), "project": {"id": "p", "name": "reel", "entity": entity}}
            self.answer({"data": {"upsertBucket": {"bucket": bucket, "inserted": not run["rows"]}}})
        elif asked == "CreateRunFiles":
            url = "http://%s/up/" % self.headers["Host"]
            self.answer({"data": {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": [{"name": f, "uploadUrl": url + f} for f in given["files"]]}}})
        else:
            self.answer({"data": {"serverInfo": {"features": [], "cliVersionInfo": {"max_cli_version": "9.9.9"}},
                                  "viewer": {"id": "u", "entity": "team", "username": "u", "flags": "{}"}}})


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *args):
        pass  # the client hangs up when it is done


def start():
    """A running server with .url, .runs {id: rows, exit} and .files {name: bytes}."""
    server = Server(("127.0.0.1", 0), Handler)
    server.url, server.runs, server.files = "http://127.0.0.1:%d" % server.server_port, {}, {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
