def write(run, profiles, page):
    for p in profiles:
        print(p.case.key, p.threads, p.shared, "peak %.0f"%(p.peak/1e9))
        for n,t in p.phases.items(): print('   %-20s %8.2f us %8.0f GF/s %.2f'%(n,t*1e6,p.flops[n]/t/1e9,p.flops[n]/t/p.peak))
        for n,t in p.python.items(): print('   %-20s %8.2f us'%(n,t*1e6))
        print('   sum %.2f step %.2f at peak %.2f'%(1e6*(sum(p.phases.values())+sum(p.python.values())),p.step*1e6,p.case.flops/p.peak*1e6))
