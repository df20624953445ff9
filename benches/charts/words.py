"""Numbers as people read them."""


def figure(value):
    """Three significant digits, as the benches print them."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def ratio(spread):
    return f"{spread.value:.2f} ({spread.least:.2f}–{spread.most:.2f})"


def rough(value):
    """Two significant digits, for what differs from run to run anyway."""
    text = f"{float(f'{value:.2g}'):,.10f}".rstrip("0")
    return text.rstrip(".")


def kilobytes(value):
    """Bytes, from the thousands on in thousands."""
    return f"{value:.0f} bytes" if value < 1000 else f"{value / 1000:.1f} kB"
