import { arePagesBuilt, buildPages } from '../../../scripts/build.ts'

/** Builds the pages that the tests open, unless they are built from the sources as they are. */
export async function setup(): Promise<void> {
  if (!(await arePagesBuilt())) await buildPages()
}
