import qs from 'qs'

/** A decoded form: texts at the leaves. Lists are objects keyed 0, 1, 2… until a schema says so. */
export type Form = { [key: string]: FormValue }
export type FormValue = string | Form | FormValue[]

/**
 * Decodes `a[b][0]=c`. Lists stay objects here, because only the schema knows whether `metadata[1]`
 * is an entry of a list or a key that happens to be a number.
 */
export function parseForm(text: string): Form {
  const form: unknown = qs.parse(text, {
    parseArrays: false,
    depth: 20,
    parameterLimit: 100_000,
    plainObjects: true,
  })
  return form as Form // qs yields texts and nested objects of texts only
}
