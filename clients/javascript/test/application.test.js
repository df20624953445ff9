// What applications do, rightly or wrongly, and what a Client and a Master make of it.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { staged } from "./stage.js";

describe("an application", () => {
  test("can't share what is no track", staged(async (stage) => {
    const { page, master, problems } = await stage.master();
    const { page: other, client } = await stage.client();
    const shares = (it, what) => stage.on(it === master ? page : other, () => it.share("camera", what).then(() => "shared", ({ name }) => name));
    for (const what of [undefined, {}, "video", { getTracks: () => [] }])
      for (const it of [master, client]) assert.equal(await shares(it, what), "TypeError");
    await stage.run(5);
    assert.equal(client.path, "direct");
    assert.deepEqual(problems, []);
  }));
});
