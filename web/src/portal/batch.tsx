import { useQuery } from '@tanstack/react-query'
import { api, dataOf } from '../api/client.ts'
import { Loaded } from '../ui/feedback.tsx'
import { plural } from '../ui/format.ts'
import { PageHead } from '../ui/shell.tsx'
import { Codes } from './codes.tsx'
import type { PortalScope } from './scope.ts'
import { termsSentence } from './words.ts'

/** Codes that came with the sponsorship, or that staff gave. */
export function BatchPage({ scope, id }: { scope: PortalScope; id: string }) {
  const { conference } = scope
  const batch = useQuery({
    queryKey: ['batches', conference, id],
    queryFn: () =>
      dataOf(
        api.GET('/v1/conferences/{conference}/voucher-batches/{batch}', {
          params: { path: { conference, batch: id } },
        }),
      ),
  })
  return (
    <Loaded query={batch}>
      {(found) => (
        <>
          <PageHead
            title={`${plural(found.count, 'code')} ${found.source === 'comp' ? 'with your sponsorship' : 'from the organizers'}`}
          />
          <p className="muted">{termsSentence(found, found.currency)}</p>
          <Codes scope={scope} of={{ kind: 'batch', id }} issued={found.count} />
        </>
      )}
    </Loaded>
  )
}
