/** A comparison went through and found differences: an answer, and yet not a success. */
export class DriftFound extends Error {
  constructor(lines: number) {
    super(lines === 1 ? 'One difference.' : `${lines} differences.`)
    this.name = 'DriftFound'
  }
}
