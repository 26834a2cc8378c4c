// Loaded before the program (node --import): its clock is wrong by that many milliseconds.
const Real = Date
const now = () => Real.now() + Number(process.env.CLOCK_OFFSET ?? 0)

globalThis.Date = class extends Real {
  constructor(...given) {
    if (given.length === 0) super(now())
    else super(...given)
  }
  static now() {
    return now()
  }
}
