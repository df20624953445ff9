// Screenshots of the pages, for people to look at, in the folder SCREENSHOTS.

import assert from "node:assert/strict";
import { join } from "node:path";

/** Takes a screenshot, and checks that the page needs no horizontal scrolling. */
export async function picture(tab, name) {
  const [page, screen] = await tab.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(page <= screen, `${name}: the page is ${page} wide, the screen ${screen}`);
  if (process.env.SCREENSHOTS) await tab.screenshot({ path: join(process.env.SCREENSHOTS, `${name}.png`) });
}
