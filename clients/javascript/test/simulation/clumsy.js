/** What an application's handler throws now and then: it must end nothing. */
export class Clumsy extends Error {}

/** Has some handlers of an application fail, before those that do the work. */
export function makeClumsy(emitter, names) {
  for (const name of names)
    emitter.on(name, () => {
      throw new Clumsy(`in a handler of "${name}"`);
    });
}
