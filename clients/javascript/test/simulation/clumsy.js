/** Thrown by some handlers: the library must go on. */
export class Clumsy extends Error {}

/** Adds handlers that fail, before the application's own. */
export function makeClumsy(emitter, names) {
  for (const name of names)
    emitter.on(name, () => {
      throw new Clumsy(`in a handler of "${name}"`);
    });
}
