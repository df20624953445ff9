"""Reads from an SDP offer what the camera box needs."""

import re

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
from gi.repository import GstSdp


class Section:
    """One m= section."""

    def __init__(self, media):
        self.kind = media.get_media()
        self.port = media.get_port()
        attributes = [media.get_attribute(i) for i in range(media.attributes_len())]
        self.attributes = [(attribute.key, attribute.value or "") for attribute in attributes]
        self.formats = [media.get_format(i) for i in range(media.formats_len())]
        self.mid = self.first("mid")

    def first(self, key):
        return next((value for name, value in self.attributes if name == key), None)

    def by_format(self, key):
        """`a=<key>:<format> <text>` as a dict: format -> text."""
        found = {}
        for name, value in self.attributes:
            if name == key:
                format, _, text = value.partition(" ")
                found.setdefault(format, text)
        return found

    def codecs(self):
        """VP8 and H264 in the viewer's order of preference: codec -> (payload type, caps of its RTP)."""
        names, parameters = self.by_format("rtpmap"), self.by_format("fmtp")
        found = {}
        for format in self.formats:
            # Checked, because it becomes part of a description of GStreamer elements.
            if not re.fullmatch("[0-9]{1,3}", format):
                continue
            codec = names.get(format, "").upper().removesuffix("/90000")
            caps = f"application/x-rtp,media=video,encoding-name={codec},clock-rate=90000,payload={format}"
            if codec == "VP8":
                found.setdefault(codec, (format, caps))
            elif codec == "H264":
                profile = baseline(parameters.get(format, ""))
                if profile:
                    caps += f",packetization-mode=(string)1,profile-level-id=(string){profile}"
                    found.setdefault(codec, (format, caps))
        return found


def baseline(parameters):
    """The profile, if it is baseline with packetization-mode 1, which all the encoders make."""
    known = dict(part.strip().partition("=")[::2] for part in parameters.split(";"))
    profile = known.get("profile-level-id", "").lower()
    if known.get("packetization-mode") == "1" and re.fullmatch("42[0-9a-f]{4}", profile):
        return profile
    return None


def parse(text):
    """The message, and its sections. Raises ValueError for SDP that would crash webrtcbin or that it doesn't support."""
    result, message = GstSdp.SDPMessage.new_from_text(text)
    if result != GstSdp.SDPResult.OK:
        raise ValueError("not an SDP")
    sections = [Section(message.get_media(i)) for i in range(message.medias_len())]
    if not 1 <= len(sections) <= 16:
        raise ValueError("the offer has no sections, or too many")
    for section in sections:
        for needed in ("mid", "ice-ufrag", "ice-pwd", "fingerprint", "setup"):
            if not section.first(needed):
                raise ValueError(f"a section has no {needed}")
    if len({section.mid for section in sections}) < len(sections):
        raise ValueError("two sections have one mid")
    return message, sections
