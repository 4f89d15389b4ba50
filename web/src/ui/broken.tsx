import { Button } from './button'

/** What stands in the place of a part of the page that cannot be shown. */
export function Broken({ what }: { what: string }) {
  return (
    <div role="alert" className="m-auto px-6 py-10 text-center">
      <p className="font-display text-xl font-semibold tracking-tight">{what} can’t be shown.</p>
      <p className="mx-auto mt-2 mb-5 max-w-sm text-[0.9375rem] text-muted-foreground">
        Something went wrong. Your draft is saved.
      </p>
      <Button variant="outline" onClick={() => location.reload()}>
        Reload
      </Button>
    </div>
  )
}
