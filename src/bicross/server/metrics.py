"""What the server counts and times, for Prometheus; names follow its conventions (seconds, ``_total``)."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from bicross.search import SearchResult

#: Seconds: from a search in the cache to a long wait in the queue.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)


class Metrics:
    """All of them, in a registry of their own: two servers in one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.requests = Counter(
            "bicross_requests_total", "Requests answered.", ["route", "method", "status"], registry=r
        )
        self.request_seconds = Histogram(
            "bicross_request_seconds", "From the first byte to the last.", ["route"], buckets=SECONDS, registry=r
        )
        self.in_flight = Gauge("bicross_requests_in_flight", "Requests that are being worked on or wait.", registry=r)
        self.refused = Counter("bicross_requests_refused_total", "Not taken on.", ["why"], registry=r)
        self.abandoned = Counter("bicross_requests_abandoned_total", "Dropped on the way.", ["why"], registry=r)
        self.stage_seconds = Histogram(
            "bicross_search_stage_seconds", "Of a search, by stage.", ["stage"], buckets=SECONDS, registry=r
        )
        self.pairs_read = Counter("bicross_pairs_read_total", "Pairs that the cross-encoder read.", registry=r)
        self.pairs_spared = Counter(
            "bicross_pairs_spared_total", "Candidates that it left, since they could hardly change the top.", registry=r
        )
        self.reading_stopped = Counter(
            "bicross_reading_stopped_total", "Searches, by why reading ended.", ["why"], registry=r
        )
        self.tokens = Counter("bicross_tokens_total", "Tokens that a model read.", ["encoder"], registry=r)
        self.batch_fill = Histogram(
            "bicross_batch_fill",
            "Tokens of a batch, as a share of the best size.",
            ["encoder"],
            buckets=SHARES,
            registry=r,
        )
        self.batch_padding = Histogram(
            "bicross_batch_padding", "Padding, as a share of a batch.", ["encoder"], buckets=SHARES, registry=r
        )
        self.queue_items = Gauge("bicross_queue_items", "Texts or pairs that wait.", ["encoder"], registry=r)
        self.queue_tokens = Gauge("bicross_queue_tokens", "Tokens of those.", ["encoder"], registry=r)
        self.cache = Counter(
            "bicross_cache_total", "Texts or pairs looked up among those read before.", ["encoder", "found"], registry=r
        )
        self.documents = Gauge("bicross_index_documents", "Documents in the index.", registry=r)
        self.chunks = Gauge("bicross_index_chunks", "Chunks in the index.", registry=r)

    def searched(self, result: SearchResult) -> None:
        """Note what a search took."""
        for stage in result.stages:
            self.stage_seconds.labels(stage.stage).observe(stage.milliseconds / 1e3)
        if result.reading is not None:
            self.pairs_read.inc(result.reading.read)
            self.pairs_spared.inc(result.reading.candidates - result.reading.read)
            self.reading_stopped.labels(result.reading.stopped).inc()


class EngineMetrics:
    """Of one encoder."""

    def __init__(self, metrics: Metrics, encoder: str) -> None:
        self._tokens = metrics.tokens.labels(encoder)
        self._fill = metrics.batch_fill.labels(encoder)
        self._padding = metrics.batch_padding.labels(encoder)
        self._queue_items = metrics.queue_items.labels(encoder)
        self._queue_tokens = metrics.queue_tokens.labels(encoder)
        self._found = metrics.cache.labels(encoder, "yes")
        self._missed = metrics.cache.labels(encoder, "no")

    def ran(self, tokens: int, padded: int, budget: int) -> None:
        """A batch of so many tokens, with padding so many, where the budget is so many."""
        self._tokens.inc(tokens)
        self._fill.observe(min(padded / budget, 1.0))
        self._padding.observe((padded - tokens) / padded)

    def queued(self, items: int, tokens: int) -> None:
        """So much waits now."""
        self._queue_items.set(items)
        self._queue_tokens.set(tokens)

    def recalled(self, found: int, missed: int) -> None:
        """So many were known, and so many were not."""
        self._found.inc(found)
        self._missed.inc(missed)
