export type ResponseFormat = 'json' | 'csv' | 'ndjson'

const FORMATS: Record<string, ResponseFormat> = {
  'application/json': 'json',
  'application/*': 'json',
  '*/*': 'json',
  'text/csv': 'csv',
  'text/*': 'csv',
  'application/x-ndjson': 'ndjson',
}

function weightOf(parameters: string[]): number {
  const q = parameters.map((part) => /^\s*q=([\d.]+)\s*$/i.exec(part)?.[1]).find(Boolean)
  return q === undefined ? 1 : Number(q)
}

/**
 * The format that an `Accept` header requests: the one with the greatest weight, the first of equals.
 * JSON if it requests no format that we have.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#field.accept
 */
export function acceptedFormat(accept: string | undefined): ResponseFormat {
  let best: { format: ResponseFormat; weight: number } = { format: 'json', weight: 0 }
  for (const range of (accept ?? '').split(',')) {
    const [type = '', ...parameters] = range.split(';')
    const format = FORMATS[type.trim().toLowerCase()]
    const weight = weightOf(parameters)
    if (format !== undefined && weight > best.weight) best = { format, weight }
  }
  return best.format
}
