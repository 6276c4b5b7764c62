import { z } from 'zod'
import type { AccessRule } from '../http/access-control.ts'
import { conferenceParams, id } from '../http/common-schemas.ts'

const conferenceIdParams = conferenceParams.extend({ id })
const platformIdParams = z.object({ id })

/** Where keys or users are: below a conference, or at the top for those of operators. */
export type Place = {
  path: string
  access: AccessRule
  /** The end of the operation ids, which must be unique in openapi.yaml. */
  suffix: string
  params: typeof conferenceParams | z.ZodObject<Record<never, never>>
  idParams: typeof conferenceIdParams | typeof platformIdParams
}

export function placeInConference(name: string, suffix: string, access: AccessRule): Place {
  const path = `/v1/conferences/:conference/${name}`
  return { path, access, suffix, params: conferenceParams, idParams: conferenceIdParams }
}

/** Only operators may use it. */
export function placeOfPlatform(name: string, suffix: string): Place {
  const params = z.object({})
  return { path: `/v1/${name}`, access: 'operator', suffix, params, idParams: platformIdParams }
}
