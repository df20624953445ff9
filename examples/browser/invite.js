/** What a host's page tells people with phones: where their page is, in words and as a QR code. */

import { $ } from "./page.js";

/** Addresses that mean another machine on a phone. */
const isOwnMachine = /^((.*\.)?localhost|127(\.\d+){3}|\[::1?\]|0\.0\.0\.0)$/.test(location.hostname);

/** `page` is where the phones' page is, seen from this one. */
export function invite(page) {
  if (isOwnMachine) {
    const { protocol, hostname, port, pathname } = location;
    const there = `${protocol}//<address>${port && ":"}${port}${pathname}`;
    const secure = protocol === "http:" ? `, or https://<address>:8443${pathname} if it has a certificate` : "";
    $("qr").remove();
    $("invitation").textContent =
      `Phones can't open ${hostname}. For them, open this page by the address of this machine that moss logged when it started: ${there}${secure}.`;
    return;
  }
  const link = document.createElement("a");
  link.textContent = link.href = new URL(page, location);
  $("invitation").replaceChildren("On a phone, open ", link);
  drawQrCode($("qr"), link.href);
}

/** Dark squares on the white that style.css gives the picture, a unit each, within the four units of quiet that scanners need. */
function drawQrCode(svg, text) {
  const code = qrcode(0, "M"); // The smallest size that holds the text.
  code.addData(text);
  code.make();
  const size = code.getModuleCount();
  let squares = "";
  for (let y = 0; y < size; y++) for (let x = 0; x < size; x++) if (code.isDark(y, x)) squares += `M${x} ${y}h1v1h-1z`;
  const path = document.createElementNS(svg.namespaceURI, "path");
  path.setAttribute("d", squares);
  svg.setAttribute("viewBox", `-4 -4 ${size + 8} ${size + 8}`);
  svg.replaceChildren(path);
}
