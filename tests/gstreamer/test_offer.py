"""The parser of offers, valid and invalid."""

import os
import sys
import unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(ROOT, "examples", "gstreamer"))

from offer import parse

H264 = "packetization-mode=1;level-asymmetry-allowed=1;profile-level-id="


def offer(*codecs, formats=None, without=None):
    """An offer to receive one picture; a codec is (payload type, rtpmap, fmtp)."""
    formats = formats or " ".join(payload for payload, _, _ in codecs)
    lines = ["v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", f"m=video 9 UDP/TLS/RTP/SAVPF {formats}", "c=IN IP4 0.0.0.0"]
    needed = {"mid": "0", "ice-ufrag": "abcd", "ice-pwd": "x" * 24, "fingerprint": "sha-256 AA", "setup": "actpass"}
    lines += [f"a={key}:{value}" for key, value in needed.items() if key != without]
    for payload, name, parameters in codecs:
        lines.append(f"a=rtpmap:{payload} {name}")
        if parameters:
            lines.append(f"a=fmtp:{payload} {parameters}")
    return "\r\n".join(lines) + "\r\n"


def codecs(*found, **more):
    _, (section,) = parse(offer(*found, **more))
    return section.codecs()


class Offers(unittest.TestCase):
    def test_codecs_are_in_the_viewers_order(self):
        found = codecs(("102", "H264/90000", H264 + "42e01f"), ("96", "VP8/90000", None), ("98", "VP9/90000", None))
        self.assertEqual([(codec, payload) for codec, (payload, _) in found.items()], [("H264", "102"), ("VP8", "96")])
        self.assertIn("profile-level-id=(string)42e01f", found["H264"][1])

    def test_h264_is_taken_only_in_the_profile_that_all_encoders_make(self):
        for parameters in (H264 + "64001f", "profile-level-id=42e01f", "packetization-mode=0;profile-level-id=42e01f", None):
            self.assertEqual(codecs(("102", "H264/90000", parameters)), {}, parameters)
        found = codecs(("102", "H264/90000", H264 + "64001f"), ("108", "H264/90000", H264 + "42001f"))
        self.assertEqual(found["H264"][0], "108")

    def test_elements_can_not_be_smuggled_in(self):
        for payload in ("96!filesink", "96,x=1", "\u0669\u0666", "9600"):
            self.assertEqual(codecs((payload, "VP8/90000", None)), {}, payload)
        for profile in ("42e01f,x=1", "42e01", "42\u0661\u0661\u0661\u0661", "42zzzz"):
            self.assertEqual(codecs(("102", "H264/90000", H264 + profile)), {}, profile)

    def test_offer_without_what_webrtcbin_needs_is_refused(self):
        for attribute in ("mid", "ice-ufrag", "ice-pwd", "fingerprint", "setup"):
            with self.assertRaisesRegex(ValueError, attribute):
                parse(offer(("96", "VP8/90000", None), without=attribute))
        whole = offer(("96", "VP8/90000", None))
        section = whole[whole.index("m=") :]
        for text, problem in (
            (whole + section, "one mid"),
            (whole + "".join(section.replace("mid:0", f"mid:{i + 1}") for i in range(16)), "too many"),
            ("v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n", "no sections"),
        ):
            with self.assertRaisesRegex(ValueError, problem):
                parse(text)


if __name__ == "__main__":
    unittest.main()
