import { render } from "preact";
import { follow } from "./core/live.ts";
import { sessionKnown } from "./core/session.ts";
import { followTheme } from "./core/theme.ts";
import { Page } from "./page.tsx";

followTheme();
void sessionKnown();
follow();
render(<Page />, document.getElementById("page")!);
