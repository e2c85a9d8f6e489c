"""``bicross pairs``"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bicross.cli.options import BiEncoderName, CrossEncoderName, Device, IdField, TextField, TitleField

if TYPE_CHECKING:
    from bicross.documents import Document
    from bicross.pairs import PairReport


def pairs(
    file: Annotated[
        str, typer.Argument(help="A file, folder or glob of documents; .txt and - hold a text a line. - may be JSONL.")
    ],
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", help="Lowest probability (default: .5); with --no-rerank lowest cosine (.875)."),
    ] = None,
    top: Annotated[
        int | None, typer.Option("--top", help="So many best pairs, in place of a threshold or too.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the pairs to this .csv or .json.")] = None,
    clusters: Annotated[
        Path | None, typer.Option("--clusters", help="Write the clusters to this .csv or .json.")
    ] = None,
    format: Annotated[
        Literal["text", "csv", "json"], typer.Option("--format", help="Of standard output, without --out.")
    ] = "text",
    texts: Annotated[bool, typer.Option("--texts", help="CSV and JSON with both texts of each pair.")] = False,
    rerank: Annotated[
        bool, typer.Option("--rerank/--no-rerank", help="Let the cross-encoder decide, or cosines alone.")
    ] = True,
    neighbours: Annotated[
        int, typer.Option("--neighbours", help="Candidates are among so many nearest of one of both texts.")
    ] = 50,
    floor: Annotated[
        float | None,
        typer.Option("--floor", help="Lowest cosine of a candidate (default: lowest that can reach the threshold)."),
    ] = None,
    budget: Annotated[
        int | None, typer.Option("--budget", help="Most candidates that the cross-encoder reads (default: 10 a text).")
    ] = None,
    id_field: IdField = None,
    text_field: TextField = None,
    title_field: TitleField = None,
    model: BiEncoderName = None,
    cross_encoder: CrossEncoderName = None,
    device: Device = "cpu",
    precision: Annotated[str, typer.Option("--precision", help="auto, f32, bf16 or int8.")] = "auto",
) -> None:
    """Find near-duplicates and paraphrases: pairs of texts, and clusters with a representative each.

    The report on standard error tells how many pairs were read of those that exist. What cannot be read in FILE is
    listed there, and the exit code is 1. Ctrl-C while pairs are read keeps what was found: the most similar ones.
    """
    from bicross.documents import Failure, Fields, read_documents
    from bicross.encoders import BiEncoder, CrossEncoder
    from bicross.encoders.loading import DEFAULT_BI_ENCODER, DEFAULT_CROSS_ENCODER
    from bicross.pairs.corpus import corpus_of, lines_of
    from bicross.pairs.finding import check_numbers, find_pairs
    from bicross.pairs.writing import clusters_as, format_of, pairs_as, write

    check_numbers(threshold, top, neighbours, floor, budget, rerank)
    kind = format_of(out) if out else format
    cluster_kind = format_of(clusters) if clusters else ""
    failures: list[Failure] = []
    try:
        fields = Fields(id_field, tuple(text_field or ()), title_field, ())
        documents = lines_of(file, list(read_documents([file], fields=fields, failed=failures.append)))
        for failure in failures:
            typer.echo(f"failed: {failure.where}: {failure.reason}", err=True)
        corpus = corpus_of(documents)
        _forecast(len(corpus.texts), rerank)
        bi_encoder = BiEncoder(model or DEFAULT_BI_ENCODER, device=device, precision=precision)
        judge = (
            CrossEncoder(cross_encoder or DEFAULT_CROSS_ENCODER, device=device, precision=precision) if rerank else None
        )
        report = find_pairs(
            documents,
            bi_encoder=bi_encoder,
            cross_encoder=judge,
            rerank=rerank,
            threshold=threshold,
            top=top,
            neighbours=neighbours,
            floor=floor,
            budget=budget,
        )
    except KeyboardInterrupt:
        typer.echo("bicross: stopped before a pair was found; nothing is written", err=True)
        sys.exit(130)
    of = {document.id: _whole(document) for document in documents}
    if kind == "text":
        _print(report, of)
    else:
        content = pairs_as(kind, report, of if texts else None)
        write(out, content) if out else typer.echo(content, nl=False)
    if clusters:
        write(clusters, clusters_as(cluster_kind, report.clusters))
    _report(report, out, clusters)
    if report.stopped:
        sys.exit(130)
    if failures:
        sys.exit(1)


def _whole(document: Document) -> str:
    return f"{document.title}\n{document.text}" if document.title else document.text


def _forecast(texts: int, rerank: bool) -> None:
    from bicross.planning import plan_pairs

    plan = plan_pairs(texts)
    alone = f"; a cross-encoder alone would read {plan.pairs:,} pairs, in both directions" if rerank else ""
    typer.echo(f"{texts:,} different texts: {plan.encodings:,} encodings{alone}", err=True)


def _print(report: PairReport, texts: dict[str, str]) -> None:
    from bicross.cli.output import excerpt, on_one_line

    for pair in report.pairs:
        sure = f"cosine {pair.cosine:.3f}" if pair.probability is None else f"{pair.probability:.3f}"
        typer.echo(f"{sure}  {on_one_line(pair.a)}  {on_one_line(pair.b)}")
        typer.echo(f"    {excerpt(texts[pair.a], 160)}\n    {excerpt(texts[pair.b], 160)}")
    if not report.pairs:
        typer.echo("No pairs found.")


def _report(report: PairReport, *files: Path | None) -> None:
    from bicross.cli.output import on_one_line

    def say(line: str) -> None:
        typer.echo(line, err=True)

    if report.empty:
        few = ", ".join(map(on_one_line, report.empty[:10]))
        more = f" and {len(report.empty) - 10:,} more" if len(report.empty) > 10 else ""
        say(f"left out, because they have no text: {few}{more}")
    if report.verdict == "relevance":
        say(
            "these models have no fitted numbers for pairs: the verdict is the mean logit alone, and its probability "
            "that of relevance to a query, not calibrated for pairs"
        )
    if report.truncated_texts or report.truncated_pairs:
        say(
            f"not read to the end: {report.truncated_texts:,} texts by the bi-encoder, "
            f"{report.truncated_pairs:,} pairs by the cross-encoder"
        )
    if report.unlisted_copies:
        say(f"{report.unlisted_copies:,} further copies of texts are paired with the first copy only")
    if report.stopped:
        say(f"bicross: stopped; {report.unread:,} of {report.candidates:,} candidates were not read, the least similar")
    elif report.unread:
        say(f"the budget left {report.unread:,} candidates unread, the least similar; --budget reads more")
    say(f"{report.texts:,} texts, {report.distinct:,} different; {report.exist:,} pairs exist")
    say(
        f"{report.candidates:,} candidates with a cosine of at least {report.floor:.3f}; "
        f"{report.scored:,} pairs read, in {report.readings:,} readings: "
        f"{100 * report.scored / report.exist:.3g}% of the pairs that exist"
    )
    say(f"{len(report.pairs):,} pairs found, in {len(report.clusters):,} clusters")
    say(", ".join(f"{step.name} {step.seconds:.1f} s" for step in report.steps))
    for file in filter(None, files):
        say(f"written: {file}")
