vcl 4.1;

# The folder below several prefixes: /moss/ obeys moss's caching headers; /cached/ caches each
# file, and revalidates it each time; /passed/ has no cache.
backend moss {
    .host = "127.0.0.1";
    .port = "@upstream@";
}

sub vcl_recv {
    if (req.url ~ "^/cached/") {
        set req.http.X-Way = "cached";
    } else if (req.url ~ "^/passed/") {
        set req.http.X-Way = "passed";
    }
    set req.url = regsub(req.url, "^/[a-z]+/", "/");
    if (req.http.Upgrade ~ "(?i)websocket") {
        return (pipe);
    }
    if (req.http.X-Way == "passed") {
        return (pass);
    }
}

sub vcl_pipe {
    set bereq.http.Upgrade = req.http.Upgrade;
    set bereq.http.Connection = req.http.Connection;
}

sub vcl_hash {
    hash_data(req.http.X-Way);
}

sub vcl_backend_response {
    if (bereq.http.X-Way == "cached") {
        set beresp.http.X-Cache = "fetched";
        if (beresp.was_304) {
            set beresp.http.X-Cache = "REVALIDATED";
        }
        set beresp.ttl = 1ms;
        set beresp.grace = 0s;
        set beresp.keep = 1h;
        return (deliver);
    }
}
