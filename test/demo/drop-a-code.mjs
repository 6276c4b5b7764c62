// Loaded before the demo (`node --import`): removes one code from an answer of the service.
const send = globalThis.fetch

globalThis.fetch = async (input, init) => {
  const answer = await send(input, init)
  if (!/\/purchases\/bp_\w+\/vouchers/.test(new Request(input).url)) return answer
  const page = await answer.json()
  return Response.json({ ...page, data: page.data.slice(1) }, { status: answer.status })
}
