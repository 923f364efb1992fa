"""Switch configurations: what a `SwitchPlan` says, printed in a platform's own words.

    SwitchPlan ─► features.check ─► values.check ─► view.view ─► templates/PLATFORM/*.j2 ─► {file name: text}
                  devices/P.yml     (what may not    (decides      (print)
                                     be printed)     everything)

A platform is data: a feature table and templates. No module of this room knows a platform's name.
"""
