// Loaded before the program (node --import): it waits a second where it means to wait fifteen, as it does between two looks at what hangs.
const real = globalThis.setTimeout
globalThis.setTimeout = (then, millis, ...rest) => real(then, millis === 15_000 ? 1000 : millis, ...rest)
