/** The address of the phones' page, as a link and as a QR code. */

import { $ } from "./page.js";

/** On a phone, these addresses mean the phone itself. */
const isOwnMachine = /^((.*\.)?localhost|127(\.\d+){3}|\[::1?\]|0\.0\.0\.0)$/.test(location.hostname);

/** Shows the address of `page`, which is relative to this page. */
export function invite(page) {
  if (isOwnMachine) {
    const { protocol, hostname, port, pathname } = location;
    const there = `${protocol}//<address>${port && ":"}${port}${pathname}`;
    const secure = protocol === "http:" ? `, or https://<address>:8443${pathname} if moss has a certificate` : "";
    $("qr").remove();
    $("invitation").textContent =
      `Phones can't open ${hostname}. On this computer, open the address that moss logged when it started instead: ${there}${secure}.`;
    return;
  }
  const link = document.createElement("a");
  link.textContent = link.href = new URL(page, location);
  $("invitation").replaceChildren("On a phone, open ", link);
  drawQrCode($("qr"), link.href);
}

/** Draws dark squares of one unit. style.css makes the background white. Scanners need a margin of four units. */
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
