"""URLs of guests: one reading, or none."""

from __future__ import annotations

import ipaddress
import itertools
import random
import urllib.parse

import pytest

from husk.sandbox._http import HttpRefused, _url

LONGEST = 8192


def parse(text: str) -> _url.Url:
    return _url.parse(text, LONGEST)


@pytest.mark.parametrize(
    ("text", "origin", "target"),
    [
        ("https://a.example", "https://a.example", "/"),
        ("HTTPS://A.Example:443/X?q=1#part", "https://a.example", "/X?q=1"),
        ("http://a.example:8080?q", "http://a.example:8080", "/?q"),
        ("http://a.example:443/", "http://a.example:443", "/"),
        ("https://xn--mnchen-3ya.example/", "https://xn--mnchen-3ya.example", "/"),
        ("http://20.0.0.1/", "http://20.0.0.1", "/"),
        ("http://[2600:0:0:0::A]:81/", "http://[2600::a]:81", "/"),
        ("http://a_b.example//x//../%2e?a[]=1|2", "http://a_b.example", "//x//../%2e?a[]=1|2"),
        ("http://a.example/@b.example:80/", "http://a.example", "/@b.example:80/"),
    ],
)
def test_what_is_read(text: str, origin: str, target: str) -> None:
    url = parse(text)
    assert (str(url.origin), url.target) == (origin, target)
    assert parse(str(url)) == url


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must begin with"),
        ("a.example/x", "must begin with"),
        ("//a.example/x", "must begin with"),
        ("https:a.example", "must begin with"),
        ("https:/a.example", "must begin with"),
        ("https:///a.example", "not a host"),
        ("ftp://a.example/", "only http and https"),
        ("file://localhost/etc/passwd", "only http and https"),
        ("gopher://a.example/_x", "only http and https"),
        ("http+unix://x/", "only http and https"),
        ("https://user@a.example/", "user or password"),
        ("https://user:word@a.example/", "user or password"),
        ("https://a.example:80@b.example/", "user or password"),
        ("https://a.example@b.example@c.example/", "user or password"),
        ("https://a.example\\@b.example/", "backslash"),
        ("https:\\\\a.example/", "backslash"),
        ("https://a.example/\\x", "backslash"),
        (" https://a.example/", "' '"),
        ("https://a.example/ x", "' '"),
        ("https://a.example/\r\nHost: b", "\\r"),
        ("https://a.example/\tx", "\\t"),
        ("https://a.example\n", "\\n"),
        ("https://a.example/\0", "\\x00"),
        ("https://a.example\x7f/", "\\x7f"),
        ("https://\uff41.example/", "punycode"),
        ("https://a\u3002example/", "punycode"),
        ("https://münchen.example/", "punycode"),
        ("https://a.example/ü", "punycode"),
        ("https://a.example/\ud800", "punycode"),
        ("https://a%2eexample/", "percent"),
        ("https://[fe80::1%25eth0]/", "percent"),
        ("https://[fe80::1%eth0]/", "percent"),
        ("https://a.example:/", "not a host"),
        ("https://a.example:0/", "not a host"),
        ("https://a.example:080/", "not a host"),
        ("https://a.example:+80/", "not a host"),
        ("https://a.example:1_0/", "not a host"),
        ("https://a.example:65536/", "1 to 65535"),
        ("https://a.example:99999999/", "not a host"),
        ("https://[::1/", "not a host"),
        ("https://::1/", "not a host"),
        ("https://[a.example]/", "not a host|see RFC"),
        ("https://[:::]/", "no IPv6"),
        ("https://[1.2.3.4]/", "no IPv6"),
        ("https://[::1]x/", "not a host"),
        ("https://a..example/", "labels"),
        ("https://a.example./", "labels"),
        ("https://.a.example/", "labels"),
        ("https://-a.example/", "labels"),
        (f"https://{'a' * 64}.example/", "labels"),
        (f"https://{'a.' * 130}example/", "RFC|not a host"),
        ("https://a.example/%", "RFC 3986"),
        ("https://a.example/%zz", "RFC 3986"),
        ("https://a.example/<x>", "RFC 3986"),
        ('https://a.example/"', "RFC 3986"),
        ("https://a.example/{x}", "RFC 3986"),
        ("https://a.example#@b.example#x", "RFC 3986"),
        # Numbers that some resolvers take for addresses.
        ("http://127.1/", "four decimal numbers"),
        ("http://2130706433/", "four decimal numbers"),
        ("http://0x7f.0.0.1/", "four decimal numbers"),
        ("http://0x7f000001/", "four decimal numbers"),
        ("http://0177.0.0.1/", "four decimal numbers"),
        ("http://127.0.0.0x1/", "four decimal numbers"),
        ("http://1.2.3.4.5/", "four decimal numbers"),
        ("http://256.0.0.1/", "four decimal numbers"),
        ("http://a.1/", "four decimal numbers"),
        ("http://a.0x/", "four decimal numbers"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(HttpRefused) as caught:
        parse(text)
    assert caught.value.rule == "url"
    assert any(words in str(caught.value) for words in message.split("|"))
    assert "\n" not in str(caught.value) and str(caught.value).isprintable()


def test_other_kinds_and_sizes() -> None:
    for other in (None, 1, b"https://a.example/"):
        with pytest.raises(HttpRefused, match="must be text"):
            _url.parse(other, LONGEST)
    with pytest.raises(HttpRefused, match="longer than 8192"):
        parse("https://a.example/" + "x" * LONGEST)


@pytest.mark.parametrize(
    ("reference", "url"),
    [
        ("/y", "https://a.example/y"),
        ("y?q", "https://a.example/dir/y?q"),
        ("?r=2", "https://a.example/dir/x?r=2"),
        ("#part", "https://a.example/dir/x?q=1"),
        ("", "https://a.example/dir/x?q=1"),
        ("//b.example/z", "https://b.example/z"),
        ("http://b.example", "http://b.example/"),
        ("///c.example", None),
        ("https:y", None),
        ("javascript:alert(1)", None),
        ("\\\\b.example/", None),
        ("/\\b.example/", None),
        ("@b.example/", "https://a.example/dir/@b.example/"),
        (":8080/", "https://a.example/dir/:8080/"),
        (".b.example/", "https://a.example/dir/.b.example/"),
        ("/x y", None),
        ("\thttps://b.example", None),
    ],
)
def test_references(reference: str, url: str | None) -> None:
    base = parse("https://a.example/dir/x?q=1")
    if url is None:
        with pytest.raises(HttpRefused):
            _url.join(base, reference, LONGEST)
    else:
        assert str(_url.join(base, reference, LONGEST)) == url


PIECES = [
    *(
        "http",
        "https",
        "HTTP",
        "ftp",
        "",
        ":",
        "/",
        "//",
        "://",
        "\\",
        "@",
        "#",
        "?",
        "%",
        "[",
        "]",
    ),
    *(
        "a.example",
        "b.example",
        "127.0.0.1",
        "20.0.0.1",
        "::1",
        "2600::1",
        "0x7f.1",
        "xn--a",
        "%61",
    ),
    *(
        ".",
        "..",
        "80",
        ":443",
        ":0",
        ";",
        "&",
        "=",
        " ",
        "\t",
        "\r",
        "\n",
        "\0",
        "\uff41",
        "\u3002",
        "\uff0d",
        "u:p",
    ),
]


def texts(count: int) -> list[str]:
    """Texts made of what parsers differ on; half of them begin well."""
    source = random.Random(23)
    starts = itertools.cycle(
        ["", "http://", "https://", "http://a.example", "https://[2600::1]", ""]
    )
    return [
        next(starts) + "".join(source.choices(PIECES, k=source.randint(1, 6))) for _ in range(count)
    ]


def test_others_read_the_same() -> None:
    """What is read at all is read in the same way by readers that know more, or refused by them."""
    read = 0
    urllib3 = pytest.importorskip("urllib3.util.url")
    for text in texts(8_000):
        try:
            url = parse(text)
        except HttpRefused:
            continue
        read += 1
        plain = urllib.parse.urlsplit(text)
        other = urllib3.parse_url(text)
        port = {"http": 80, "https": 443}[url.origin.scheme]
        for scheme, host, its_port in (
            (plain.scheme, plain.hostname, plain.port),
            (other.scheme, other.host, other.port),
        ):
            assert scheme == url.origin.scheme, text
            assert canonical(host) == url.origin.host, text
            assert (its_port or port) == url.origin.port, text
        assert plain.username is None and other.auth is None
        assert url.target == (plain.path or "/") + (
            "?" + plain.query if "?" in text_of(text) else ""
        )
        assert all("!" <= c <= "~" for c in url.target)
    assert read > 300


def canonical(host: str | None) -> str:
    """The host as it is compared: without brackets, addresses in one way."""
    plain = (host or "").strip("[]").lower()
    return str(ipaddress.IPv6Address(plain)) if ":" in plain else plain


def text_of(text: str) -> str:
    """A URL without its fragment."""
    return text.split("#", 1)[0]
