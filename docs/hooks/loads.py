"""What a page of the site would load from the network: nothing, or the build fails."""

import re


def loaded(text: str) -> list[str]:
    """Return the addresses of scripts, styles, pictures and fonts that a page or style loads."""
    tags = re.findall(r"<(?:script|img|iframe|source|link|video|audio)\b[^>]*>", text)
    urls = [
        url for tag in tags if 'rel="canonical"' not in tag
        for url in re.findall(r'(?:src|href|srcset)="?((?:https?:)?//[^"\s>]+)', tag)
    ]  # fmt: skip
    return urls + re.findall(r"(?:url\(|@import )[\"']?((?:https?:)?//[^\"')]+)", text)
